#include "tendon/arrays.h"

#include "preprocess/array_collector.h"

namespace tendon {

class ObservationBuilder::Impl : public ArrayCollector {
 public:
  using ArrayCollector::ArrayCollector;
};

ObservationBuilder::ObservationBuilder(const PolicyInfo& info)
    : impl_(std::make_unique<Impl>(info)) {}
ObservationBuilder::~ObservationBuilder() = default;
ObservationBuilder::ObservationBuilder(ObservationBuilder&&) noexcept = default;
ObservationBuilder& ObservationBuilder::operator=(ObservationBuilder&&) noexcept = default;

void ObservationBuilder::clear() { impl_->clear(); }
void ObservationBuilder::add(std::string_view key, const ArrayView& array) {
  impl_->add(key, array);
}
void ObservationBuilder::add_text(std::string_view key, std::string_view text) {
  impl_->add_text(key, text);
}
void ObservationBuilder::add_other(std::string_view key) { impl_->add_other(key); }
bool ObservationBuilder::takes(std::string_view key) const { return impl_->takes(key); }
std::span<const std::string> ObservationBuilder::unknown() const { return impl_->unknown(); }
const Observation& ObservationBuilder::observation() { return impl_->observation(); }

}  // namespace tendon
