// What workers of a step touch: whether the next may begin before all have ended this one.
#pragma once

#include <vector>

#include "backends/cpu/threads.h"
#include "backends/cpu/view.h"

namespace tendon::cpu {

struct Table;

// Memory that one worker of a step reads and writes, as intervals. Nothing stated: all of it.
class Footprint {
 public:
  void reads(const View& v, Range rows) { add(v, rows, Access::read); }
  void reads(const View& v) { add(v, {0, v.rows()}, Access::read); }
  void reads(const Table& table, Range rows);
  void reads(const void* data, std::size_t bytes) { add(data, bytes, Access::read); }
  void writes(const View& v, Range rows) { add(v, rows, Access::written); }
  void writes(const void* data, std::size_t bytes) { add(data, bytes, Access::written); }

 private:
  friend class Meetings;
  enum class Access : std::uint8_t { read, written };
  struct Interval {
    const std::byte *begin, *end;
    int thread;
    Access access;
  };
  void add(const View& v, Range rows, Access access);
  void add(const void* data, std::size_t bytes, Access access);
  std::vector<Interval> intervals_;
};

// Decides, step by step in their order, before which all workers must meet: where one touches what
// another wrote, or writes what another touched, since they met last.
class Meetings {
 public:
  // Of the next step: one footprint for each thread; empty: it may touch anything.
  bool wanted_before(const std::vector<Footprint>& threads);

 private:
  std::vector<Footprint::Interval> since_;
  bool anything_ = false;  // was touched since
};

}  // namespace tendon::cpu
