# At installation: copies the libraries that ${folder}/${module} needs to ${folder}/lib, all but the
# machine's own: glibc, libstdc++, NVIDIA's. ${folders} are looked into besides the loader's;
# ${strip} takes out what nobody needs at run time.
set(glibc "ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil")
set(machine "^(${glibc}|libstdc\\+\\+|libgcc_s|libnv.*|libcu.*)\\.so")
set(from $ENV{DESTDIR}${folder})
file(GET_RUNTIME_DEPENDENCIES
     MODULES ${from}/${module}
     DIRECTORIES ${folders}
     RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR unresolved
     PRE_EXCLUDE_REGEXES ${machine})
if(unresolved)
  message(FATAL_ERROR "${module} needs ${unresolved}, which this machine lacks")
endif()
foreach(library IN LISTS found)
  get_filename_component(name ${library} NAME)
  if(name MATCHES "${machine}")
    continue()
  endif()
  file(REAL_PATH ${library} real)
  file(MAKE_DIRECTORY ${from}/lib)
  file(COPY_FILE ${real} ${from}/lib/${name})
  file(CHMOD ${from}/lib/${name}
       PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  execute_process(COMMAND ${strip} --strip-unneeded ${from}/lib/${name})
endforeach()
