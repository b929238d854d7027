// The extension module tendon._core; what users see of it is in the package beside this file.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "cli/command_line.h"
#include "python/policy.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tendon::python {
namespace {

using Call = SharedPolicy::Call;

template <class T>
using Rows = nb::ndarray<nb::numpy, T, nb::ndim<2>, nb::c_contig>;

// The chunk's own memory as arrays: owned by them, not copied.
nb::tuple to_python(Chunk&& made) {
  auto owned = std::make_unique<Chunk>(std::move(made));
  Chunk& c = *owned;
  const nb::capsule owner(owned.release(), [](void* p) noexcept { delete static_cast<Chunk*>(p); });
  const auto rows = static_cast<std::size_t>(c.horizon);
  nb::list timing;
  for (const auto& [part, seconds] : c.timing) timing.append(nb::make_tuple(part, seconds));
  return nb::make_tuple(
      Rows<double>(c.actions.data(), {rows, static_cast<std::size_t>(c.width)}, owner),
      Rows<float>(c.model_actions.data(), {rows, static_cast<std::size_t>(c.model_width)}, owner),
      timing, c.seconds);
}

void bind_options(nb::module_& m) {
  nb::class_<LoadOptions>(m, "LoadOptions")
      .def(nb::init<>())
      .def_rw("device", &LoadOptions::device)
      .def_rw("dtype", &LoadOptions::dtype)
      .def_rw("contract", &LoadOptions::contract)
      .def_rw("tokenizer", &LoadOptions::tokenizer)
      .def_rw("statistics", &LoadOptions::statistics)
      .def_rw("default_prompt", &LoadOptions::default_prompt)
      .def_rw("context", &LoadOptions::context)
      .def_rw("text_cache", &LoadOptions::text_cache)
      .def_rw("schedule", &LoadOptions::schedule)
      .def_rw("threads", &LoadOptions::threads)
      .def_rw("max_steps", &LoadOptions::max_steps)
      .def_rw("truncate_prompt", &LoadOptions::truncate_prompt)
      .def_rw("frame_pixels", &LoadOptions::frame_pixels)
      .def_rw("progress", &LoadOptions::progress, nb::arg("progress").none());
}

void bind_info(nb::module_& m) {
  nb::class_<PolicyInfo::Input>(m, "Input")
      .def_ro("key", &PolicyInfo::Input::key)
      .def_ro("slot", &PolicyInfo::Input::slot)
      .def_ro("size", &PolicyInfo::Input::size)
      .def_ro("required", &PolicyInfo::Input::required)
      .def_ro("aliases", &PolicyInfo::Input::aliases)
      .def_prop_ro("channels_first", [](const PolicyInfo::Input& i) {
        return i.channels == PolicyInfo::Channels::first;
      });
  nb::class_<PolicyInfo>(m, "PolicyInfo")
      .def_ro("family", &PolicyInfo::family)
      .def_ro("contract", &PolicyInfo::contract)
      .def_ro("device", &PolicyInfo::device)
      .def_ro("dtype", &PolicyInfo::dtype)
      .def_ro("schedule", &PolicyInfo::schedule)
      .def_ro("weights_fingerprint", &PolicyInfo::weights_fingerprint)
      .def_ro("statistics_sha256", &PolicyInfo::statistics_sha256)
      .def_ro("tokenizer_sha256", &PolicyInfo::tokenizer_sha256)
      .def_ro("inputs", &PolicyInfo::inputs)
      .def_ro("needs_prompt", &PolicyInfo::needs_prompt)
      .def_ro("horizon", &PolicyInfo::horizon)
      .def_ro("width", &PolicyInfo::width)
      .def_ro("model_width", &PolicyInfo::model_width)
      .def_ro("default_steps", &PolicyInfo::default_steps)
      .def_ro("execute_rows", &PolicyInfo::execute_rows)
      .def_ro("control_hz", &PolicyInfo::control_hz)
      .def_ro("metadata_json", &PolicyInfo::metadata_json)
      .def_ro("weight_bytes", &PolicyInfo::weight_bytes)
      .def_ro("buffer_bytes", &PolicyInfo::buffer_bytes)
      .def_ro("arena_bytes", &PolicyInfo::arena_bytes);
}

void bind_policy(nb::module_& m) {
  nb::enum_<PinRule>(m, "PinRule")
      .value("family", PinRule::family)
      .value("conditioned", PinRule::conditioned)
      .value("renoised", PinRule::renoised)
      .value("clamped", PinRule::clamped);
  nb::class_<Call>(m, "Call")
      .def(nb::init<>())
      .def_rw("seed", &Call::seed, nb::arg("seed").none())
      .def_rw("steps", &Call::steps)
      .def_rw("shift", &Call::shift)
      .def_rw("pin_rule", &Call::pin_rule)
      .def_rw("noise", &Call::noise, nb::arg("noise").none())
      .def_rw("pinned", &Call::pinned, nb::arg("pinned").none());
  nb::class_<SharedPolicy>(m, "Policy")
      .def(
          "__init__",
          [](SharedPolicy* self, const std::string& path, const LoadOptions& options,
             std::uint64_t seed, bool strict) {
            new (self) SharedPolicy(path, options, {.seed = seed, .strict = strict});
          },
          "path"_a, "options"_a, "seed"_a, "strict"_a)
      .def_prop_ro("info", &SharedPolicy::info, nb::rv_policy::reference_internal)
      .def("takes", &SharedPolicy::takes, "key"_a)
      .def(
          "infer",
          [](SharedPolicy& self, const nb::list& items, const Call& call) {
            return to_python(self.infer(items, call));
          },
          "items"_a, "call"_a)
      .def(
          "warm_up",
          [](SharedPolicy& self, const nb::list& items) {
            self.infer(items, {.seed = 0, .counts = SharedPolicy::Counts::not_at_all});
          },
          "items"_a)
      .def("reset", &SharedPolicy::reset, "seed"_a.none());
}

int run_command(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  const nb::gil_scoped_release release;
  return cli::run_command_line(static_cast<int>(argv.size()), argv.data());
}

}  // namespace
}  // namespace tendon::python

NB_MODULE(_core, m) {
  using namespace tendon::python;
  nb::exception<tendon::Error>(m, "Error", PyExc_RuntimeError).attr("__module__") = "tendon";
  bind_options(m);
  bind_info(m);
  bind_policy(m);
  m.def("run_command", &run_command, "arguments"_a);
  m.def("request_seed", &tendon::request_seed, "seed"_a, "number"_a);
  m.attr("__version__") = std::string(tendon::version());
}
