# A program of a bundle looks for libraries beside itself, not where it was built.
file(RPATH_SET FILE ${file} NEW_RPATH "$ORIGIN/../lib")
