#include "engine/golden_stages.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tendon {
namespace {

std::string replaced(std::string name, std::string_view marker, int number) {
  const std::size_t at = name.find(marker);
  return name.replace(at, marker.size(), std::to_string(number));
}

Shape without_first(const Shape& shape) {
  Shape rest;
  for (int i = 1; i < shape.rank(); ++i) rest.push_back(shape[i]);
  return rest;
}

class Comparison {
 public:
  Comparison(const RecordedInput& recorded, const std::optional<std::vector<int>>& rows,
             const RecordedCall& call, const Bound& bound)
      : recorded_(recorded), rows_(rows), call_(call), bound_(bound) {}

  void add(const StagePiece& piece) {
    switch (piece.rows) {
      case Trace::TapRows::packed_prefix:
        return packed(piece);
      case Trace::TapRows::first:
      case Trace::TapRows::last:
        return part(piece);
      case Trace::TapRows::plain:
        return plain(piece);
    }
  }
  const Distance& result() const { return d_; }

 private:
  void row(const StagePiece& piece, std::int64_t ours, std::int64_t theirs, std::int64_t width) {
    require((ours + 1) * width <= static_cast<std::int64_t>(piece.values.size()) &&
                (theirs + 1) * width <= static_cast<std::int64_t>(recorded_.values.size()),
            "row {} of {} numbers lies outside the recorded {}", theirs, width,
            recorded_.shape.str());
    for (std::int64_t i = 0; i < width; ++i) {
      number(piece.values[static_cast<std::size_t>(ours * width + i)],
             recorded_.values[static_cast<std::size_t>(theirs * width + i)]);
    }
  }

  void number(double value, double reference) {
    const double difference = std::abs(value - reference);
    const double bound = bound_.abs + bound_.rel * std::abs(reference);
    // A NaN must never pass for small.
    const double ratio =
        std::isfinite(difference) ? (bound > 0 ? difference / bound : 0) : HUGE_VAL;
    if (ratio >= d_.worst_ratio) {
      d_.worst_ratio = ratio;
      d_.worst_bound = bound;
    }
    d_.worst = std::isfinite(difference) ? std::max(d_.worst, difference) : HUGE_VAL;
    d_.difference += difference * difference;
    d_.reference += reference * reference;
    ++d_.compared;
  }

  std::int64_t recorded_numbers() const {
    return static_cast<std::int64_t>(recorded_.values.size());
  }

  // Where unpruned row `wanted` of a sample lies among the packed ones; -1: it was left out.
  static std::int64_t position(const std::vector<int>& rows, int wanted) {
    const auto it = std::find(rows.begin(), rows.end(), wanted);
    return it == rows.end() ? -1 : it - rows.begin();
  }

  // One number a sample, how many packed rows are attended to: the recorded mask of unpruned rows.
  void mask(const StagePiece& piece) {
    const std::int64_t batch = piece.shape[0], count = recorded_numbers() / batch;
    for (std::int64_t i = 0; i < batch * count; ++i) {
      const auto b = static_cast<std::size_t>(i / count), at = static_cast<std::size_t>(i % count);
      const std::int64_t place =
          position(call_.prefix_rows[b], rows_ ? (*rows_)[at] : static_cast<int>(at));
      const bool seen = place >= 0 && static_cast<float>(place) < piece.values[b];
      number(seen ? 1.0 : 0.0, recorded_.values[static_cast<std::size_t>(i)]);
    }
  }

  void packed(const StagePiece& piece) {
    if (piece.shape.rank() == 1) return mask(piece);
    const std::int64_t batch = piece.shape[0], per_sample = piece.shape[1];
    const std::int64_t width = piece.shape.numel() / (batch * per_sample);
    if (rows_) {
      for (std::size_t i = 0; i < rows_->size(); ++i) {
        const std::int64_t ours = position(call_.prefix_rows[0], (*rows_)[i]);
        if (ours >= 0) row(piece, ours, static_cast<std::int64_t>(i), width);
      }
      return;
    }
    const std::int64_t theirs = recorded_numbers() / (batch * width);
    for (std::int64_t b = 0; b < batch; ++b) {
      const std::vector<int>& rows = call_.prefix_rows[static_cast<std::size_t>(b)];
      for (std::size_t i = 0; i < rows.size(); ++i) {
        row(piece, b * per_sample + static_cast<std::int64_t>(i), b * theirs + rows[i], width);
      }
    }
  }

  // The first or last rows of each sample's recorded ones.
  void part(const StagePiece& piece) {
    const std::int64_t batch = piece.shape[0], own = piece.shape[1];
    const std::int64_t width = piece.shape.numel() / (batch * own);
    if (rows_) {
      for (std::size_t i = 0; i < rows_->size(); ++i) {
        const std::int64_t ours = (*rows_)[i] - piece.head;
        if (ours >= 0 && ours < own) row(piece, ours, static_cast<std::int64_t>(i), width);
      }
      return;
    }
    const std::int64_t theirs = recorded_numbers() / (batch * width);
    const std::int64_t offset = piece.rows == Trace::TapRows::last ? theirs - own : 0;
    require(theirs >= own, "{} rows for {} recorded ones", own, theirs);
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t r = 0; r < own; ++r)
        row(piece, b * own + r, b * theirs + offset + r, width);
    }
  }

  void plain(const StagePiece& piece) {
    const std::int64_t n = piece.shape.numel();
    if (rows_) {
      const std::int64_t width = recorded_numbers() / static_cast<std::int64_t>(rows_->size());
      for (std::size_t i = 0; i < rows_->size(); ++i) {
        if (piece.sample <= 0) row(piece, (*rows_)[i], static_cast<std::int64_t>(i), width);
      }
    } else if (piece.stacked) {
      row(piece, 0, piece.iteration, n);
    } else if (piece.sample >= 0) {
      row(piece, 0, piece.sample, n);
    } else if (const Shape& s = piece.shape;
               s.rank() == 4 && recorded_.shape == Shape{s[3], s[1], s[2]}) {
      channels_first(piece);
    } else {
      row(piece, 0, 0,
          std::min(n, recorded_numbers()));  // recordings keep the head of long vectors
    }
  }

  // [1, Y, X, C] recorded as [C, Y, X].
  void channels_first(const StagePiece& piece) {
    const auto channels = static_cast<std::size_t>(piece.shape[3]);
    const std::size_t plane = piece.values.size() / channels;
    for (std::size_t i = 0; i < piece.values.size(); ++i) {
      number(piece.values[i], recorded_.values[i % channels * plane + i / channels]);
    }
  }

  const RecordedInput& recorded_;
  const std::optional<std::vector<int>>& rows_;
  const RecordedCall& call_;
  Bound bound_;
  Distance d_;
};

}  // namespace

double Distance::relative() const {
  if (reference > 0) return std::sqrt(difference / reference);
  return difference > 0 ? HUGE_VAL : 0.0;
}

void StageCollector::keep(const Trace::Tap& tap, StagePiece piece) {
  std::string name = tap.name;
  if (name.find("{step}") != std::string::npos) name = replaced(name, "{step}", piece.iteration);
  if (name.ends_with("[]")) {
    name.resize(name.size() - 2);
    piece.stacked = true;
  } else if (pieces_.contains(name) && name == tap.name && piece.iteration > 0) {
    return;  // a name without a step is that of the first
  }
  piece.rows = tap.rows;
  // The first rows may be shown once for all steps.
  if (tap.rows == Trace::TapRows::first) heads_[tap.name] = piece.shape[1];
  if (const auto it = heads_.find(tap.name); it != heads_.end() && tap.rows == Trace::TapRows::last)
    piece.head = it->second;
  pieces_[name].push_back(std::move(piece));
}

// One piece for each entry of the first dimension.
void StageCollector::split(const Trace::Tap& tap, const StagePiece& all, std::string_view marker) {
  const Shape rest = without_first(all.shape);
  const auto width = static_cast<std::size_t>(rest.numel());
  for (std::size_t i = 0; i < static_cast<std::size_t>(all.shape[0]); ++i) {
    StagePiece one{.rows = tap.rows, .shape = rest, .iteration = all.iteration};
    const auto first = all.values.begin() + static_cast<std::ptrdiff_t>(i * width);
    one.values.assign(first, first + static_cast<std::ptrdiff_t>(width));
    int number = static_cast<int>(i);
    if (marker == "{slot}") {
      one.sample = call_.cameras.at(i).first;
      number = call_.cameras.at(i).second;
    } else {
      one.iteration = number;
    }
    pieces_[replaced(tap.name, marker, number)].push_back(std::move(one));
  }
}

void StageCollector::after(std::string_view, std::size_t trace, int iteration) {
  const Trace& t = executable_.program().traces.at(trace);
  for (const Trace::Tap& tap : t.taps()) {
    StagePiece piece{.shape = t.shape(tap.value),
                     .values = executable_.fetch(trace, tap.value),
                     .iteration = iteration};
    if (tap.name.find("{slot}") != std::string::npos) {
      split(tap, piece, "{slot}");
    } else if (tap.name.find("{row}") != std::string::npos) {
      split(tap, piece, "{row}");
    } else {
      keep(tap, std::move(piece));
    }
  }
}

Distance compare(std::span<const StagePiece> pieces, const RecordedInput& recorded,
                 const std::optional<std::vector<int>>& rows, const RecordedCall& call,
                 const Bound& bound) {
  Comparison comparison(recorded, rows, call, bound);
  for (const StagePiece& piece : pieces) comparison.add(piece);
  return comparison.result();
}

}  // namespace tendon
