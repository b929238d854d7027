// How attention is divided among threads.
#pragma once

#include <cstdint>
#include <vector>

namespace tendon::cpu {

// Queries that share a key head, against all keys or a part of them. The query heads of a key head
// are rows beside each other: G of them for each of S queries.
struct AttentionTask {
  std::int64_t b, head, first, rows;  // rows [first, first + rows) of the G * S of a key head
  int key_part;                       // of AttentionDivision::key_parts
};

struct AttentionShape {
  std::int64_t samples = 0, queries = 0, key_heads = 0, group = 0;  // B, S, Hk, G
  std::int64_t columns = 0;                                         // of a panel of lanes
  std::int64_t most_lanes = 0;                                      // of a task
  std::int64_t least_lanes = 64;                                    // of a share of the rows
  std::int64_t key_tiles = 0;                                       // at most, of a sample
  int threads = 1;
};

struct AttentionDivision {
  std::int64_t lanes = 0;  // of a task, at most; whole panels
  // Where each thread has queries enough: those of its share of the rows, as ops around this one
  // share them. Else tasks are taken by whoever is free: parts of the queries of a key head, and of
  // its keys.
  std::vector<std::vector<AttentionTask>> shares;
  std::int64_t row_parts = 1;
  int key_parts = 1;
};

// Splitting the keys of a task further gains nothing: it is under 10 us of work, or many threads.
constexpr int kMostKeyParts = 16;

AttentionDivision divide(const AttentionShape& shape);

}  // namespace tendon::cpu
