/* The C ABI from C11, on a small checkpoint:  program MODEL */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tendon/tendon_c.h"

static int failures = 0;

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                     \
    }                                                                 \
  } while (0)
#define OK(call)                                                               \
  do {                                                                         \
    if ((call) != TENDON_OK) {                                                 \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, tendon_last_error()); \
      ++failures;                                                              \
    }                                                                          \
  } while (0)
/* The call is refused with a sentence that holds `word`. */
#define REFUSED(call, word)                                                                    \
  do {                                                                                         \
    CHECK((call) == TENDON_REFUSED);                                                           \
    if (strstr(tendon_last_error(), (word)) == NULL) {                                         \
      fprintf(stderr, "%s:%d: \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, tendon_last_error(), \
              (word));                                                                         \
      ++failures;                                                                              \
    }                                                                                          \
  } while (0)

enum { kSide = 96, kWide = 128, kState = 8 };
static uint8_t base[kSide][kWide][3], wrist[kSide][kSide][3];
static double state[kState];
static const int64_t base_shape[3] = {kSide, kSide, 3}, base_strides[3] = {kWide * 3, 3, 1};
static const int64_t wrist_shape[3] = {kSide, kSide, 3}, state_shape[1] = {kState};
static tendon_array arrays[3];

static void fill(void) {
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kWide; ++x) {
      for (int c = 0; c < 3; ++c) {
        base[y][x][c] = (uint8_t)(y * 7 + x * 3 + c * 50);
        if (x < kSide) wrist[y][x][c] = (uint8_t)(x * 5 + y + c);
      }
    }
  }
  for (int i = 0; i < kState; ++i) state[i] = 0.05 * i;
  /* The picture is the left part of a wider one: rows lie apart. */
  arrays[0] = (tendon_array){"observation/image", base, TENDON_U8, 3, base_shape, base_strides};
  arrays[1] = (tendon_array){"observation/wrist_image", wrist, TENDON_U8, 3, wrist_shape, NULL};
  arrays[2] = (tendon_array){"observation/state", state, TENDON_F64, 1, state_shape, NULL};
}

static tendon_observation seen(void) {
  tendon_observation o = TENDON_INIT(tendon_observation);
  o.arrays = arrays;
  o.count = 3;
  o.prompt = "pick up the red block";
  return o;
}

static void count_progress(const char* what, double done, void* user) {
  CHECK(what[0] != '\0' && done >= 0 && done <= 1);
  ++*(int*)user;
}

static void test_load(const char* model, tendon_policy** policy) {
  tendon_policy* absent = (tendon_policy*)&failures;
  REFUSED(tendon_load("/nowhere/at/all", NULL, &absent), "/nowhere/at/all");
  CHECK(absent == NULL);
  REFUSED(tendon_load(NULL, NULL, &absent), "NULL");
  REFUSED(tendon_load(model, NULL, NULL), "no place");
  tendon_load_options options = {0};
  REFUSED(tendon_load(model, &options, &absent), "TENDON_INIT");
  options.size = sizeof(options);
  options.device = "abacus";
  REFUSED(tendon_load(model, &options, &absent), "abacus");
  options.device = "cpu";
  options.execute = 1000;
  REFUSED(tendon_load(model, &options, &absent), "1000");
  struct {
    tendon_load_options known;
    int later;
  } longer = {.known = {.size = sizeof(longer)}, .later = 1};
  REFUSED(tendon_load(model, &longer.known, &absent), "does not know");

  int calls = 0;
  options.execute = 3;
  options.threads = 1;
  options.seed = 11;
  options.progress = count_progress;
  options.user = &calls;
  OK(tendon_load(model, &options, policy));
  CHECK(calls > 0);
}

static void test_info(const tendon_policy* policy) {
  tendon_info info = TENDON_INIT(tendon_info);
  OK(tendon_get_info(policy, &info));
  CHECK(strcmp(info.family, "pi05") == 0 && strcmp(info.contract, "pi05_libero") == 0);
  CHECK(info.width == 7 && info.execute == 3 && info.horizon > 3 && info.model_width > 0);
  CHECK(info.weight_bytes > 0 && info.size == sizeof(info));
  int pictures = 0, numbers = 0;
  for (int i = 0; i < info.input_count; ++i) {
    tendon_input input = TENDON_INIT(tendon_input);
    OK(tendon_get_input(policy, i, &input));
    pictures += input.count == 0 && input.required;
    numbers += input.count;
  }
  CHECK(pictures == 2 && numbers == kState);
  tendon_input input = TENDON_INIT(tendon_input);
  REFUSED(tendon_get_input(policy, info.input_count, &input), "input");
  REFUSED(tendon_get_info(NULL, &info), "NULL");

  struct {
    size_t size;
    const char* family;
  } shorter = {sizeof(shorter), NULL};
  OK(tendon_get_info(policy, (tendon_info*)&shorter));
  CHECK(strcmp(shorter.family, "pi05") == 0 && shorter.size == sizeof(shorter));
}

static int same(const double* a, const double* b, int n) {
  return memcmp(a, b, (size_t)n * sizeof(double)) == 0;
}

static void test_infer(tendon_policy* policy) {
  const tendon_observation o = seen();
  tendon_chunk chunk = TENDON_INIT(tendon_chunk);
  const uint64_t seed = 7, other = 8;
  tendon_infer_options options = TENDON_INIT(tendon_infer_options);
  options.seed = &seed;
  OK(tendon_infer(policy, &o, &options, &chunk));
  const int n = chunk.horizon * chunk.width;
  double* first = malloc((size_t)n * sizeof(double));
  memcpy(first, chunk.actions, (size_t)n * sizeof(double));
  for (int i = 0; i < n; ++i) CHECK(isfinite(first[i]));
  double sum = 0;
  for (int i = 0; i < chunk.timing_count; ++i) sum += chunk.timing[i].seconds;
  CHECK(chunk.timing_count >= 4 && strcmp(chunk.timing[0].part, "preprocess") == 0);
  CHECK(sum > 0 && sum <= chunk.seconds);

  OK(tendon_infer(policy, &o, &options, &chunk));
  CHECK(same(first, chunk.actions, n));
  options.seed = &other;
  OK(tendon_infer(policy, &o, &options, &chunk));
  CHECK(!same(first, chunk.actions, n));

  /* Rows pinned are rows returned; noise given counts instead of a seed. */
  const size_t row = (size_t)chunk.model_width;
  float* noise = calloc((size_t)chunk.horizon * row, sizeof(float));
  float* pinned = malloc(2 * row * sizeof(float));
  memcpy(pinned, chunk.model_actions, 2 * row * sizeof(float));
  options.noise = noise;
  options.noise_count = (size_t)chunk.horizon * row;
  options.pinned = pinned;
  options.pinned_count = 2 * row;
  OK(tendon_infer(policy, &o, &options, &chunk));
  CHECK(memcmp(pinned, chunk.model_actions, 2 * row * sizeof(float)) == 0);
  options.pin_rule = 17;
  REFUSED(tendon_infer(policy, &o, &options, &chunk), "pin_rule 17");
  options.pin_rule = TENDON_PIN_FAMILY;
  options.shift = 5;
  REFUSED(tendon_infer(policy, &o, &options, &chunk), "shift");
  options.shift = 0;
  options.noise_count = 5;
  REFUSED(tendon_infer(policy, &o, &options, &chunk), "noise");
  free(first);
  free(noise);
  free(pinned);
}

static void test_refusals(tendon_policy* policy) {
  tendon_observation o = seen();
  o.count = 2;
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "observation/state");
  o = seen();
  o.prompt = NULL;
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "prompt");
  o = seen();
  o.size = 0;
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "TENDON_INIT");
  REFUSED(tendon_infer(policy, NULL, NULL, NULL), "NULL");
  REFUSED(tendon_infer(NULL, &o, NULL, NULL), "NULL");
  const tendon_array kept = arrays[1];
  arrays[1].dtype = 99;
  o = seen();
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "dtype 99");
  arrays[1] = kept;
  arrays[1].key = "observation/third_eye";
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "observation/");
  arrays[1] = kept;
  state[2] = NAN;
  REFUSED(tendon_infer(policy, &o, NULL, NULL), "finite");
  state[2] = 0.1;
  tendon_chunk unsized = {0};
  REFUSED(tendon_infer(policy, &o, NULL, &unsized), "tendon_chunk");
}

static void test_next_action(tendon_policy* policy) {
  enum { kWidth = 7, kExecute = 3 };
  const tendon_observation o = seen();
  tendon_chunk chunk = TENDON_INIT(tendon_chunk);
  double action[kWidth], first[kExecute][kWidth];
  OK(tendon_reset(policy));
  CHECK(tendon_actions_left(policy) == 0);
  REFUSED(tendon_next_action(policy, NULL, NULL, action, kWidth), "observation");
  REFUSED(tendon_next_action(policy, &o, NULL, action, kWidth - 1), "room for 6");
  for (int tick = 0; tick < kExecute; ++tick) {
    OK(tendon_next_action(policy, tick == 0 ? &o : NULL, NULL, first[tick], kWidth));
    CHECK(tendon_actions_left(policy) == kExecute - 1 - tick);
  }
  REFUSED(tendon_next_action(policy, NULL, NULL, action, kWidth), "no action is left");
  OK(tendon_next_action(policy, &o, NULL, action, kWidth)); /* request 1: other noise */
  CHECK(!same(action, first[0], kWidth));
  OK(tendon_reset(policy));
  OK(tendon_warm_up(policy, "put it down")); /* changes nothing of the session */
  OK(tendon_next_action(policy, &o, NULL, action, kWidth));
  CHECK(same(action, first[0], kWidth));

  /* An inference asked for is what is served next; request 0 has the session's seed itself. */
  const uint64_t seed = 11;
  tendon_infer_options options = TENDON_INIT(tendon_infer_options);
  options.seed = &seed;
  OK(tendon_infer(policy, &o, &options, &chunk));
  CHECK(same(chunk.actions, &first[0][0], kExecute * kWidth));
  CHECK(tendon_actions_left(policy) == kExecute);
  OK(tendon_next_action(policy, NULL, NULL, action, kWidth));
  CHECK(same(action, chunk.actions, kWidth));
}

struct Work {
  tendon_policy* policy;
  atomic_int done;
  char error[64];
};

static void* infer_long(void* argument) {
  struct Work* work = argument;
  const tendon_observation o = seen();
  tendon_infer_options options = TENDON_INIT(tendon_infer_options);
  options.steps = 100;
  while (tendon_infer(work->policy, &o, &options, NULL) == TENDON_BUSY) sched_yield();
  CHECK(tendon_infer(NULL, &o, NULL, NULL) == TENDON_REFUSED);
  strncpy(work->error, tendon_last_error(), sizeof(work->error) - 1);
  atomic_store(&work->done, 1);
  return NULL;
}

static void test_threads(tendon_policy* policy) {
  struct Work work = {.policy = policy};
  pthread_t thread;
  int busy = 0;
  REFUSED(tendon_get_input(policy, -5, &(tendon_input)TENDON_INIT(tendon_input)), "-5");
  CHECK(pthread_create(&thread, NULL, infer_long, &work) == 0);
  while (!atomic_load(&work.done)) {
    const tendon_status status = tendon_reset(policy);
    CHECK(status == TENDON_OK || status == TENDON_BUSY);
    if (status == TENDON_BUSY && ++busy == 1) CHECK(strstr(tendon_last_error(), "another thread"));
    sched_yield();
  }
  pthread_join(thread, NULL);
  CHECK(busy > 0);
  CHECK(strstr(work.error, "NULL") != NULL);
  CHECK(strstr(tendon_last_error(), "another thread") != NULL);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  tendon_policy* policy = NULL;
  CHECK(tendon_abi_version() == TENDON_ABI_VERSION);
  CHECK(tendon_version()[0] != '\0' && tendon_last_error()[0] == '\0');
  fill();
  test_load(argv[1], &policy);
  if (policy == NULL) return 1;
  test_info(policy);
  test_infer(policy);
  test_refusals(policy);
  test_next_action(policy);
  test_threads(policy);
  tendon_free(policy);
  tendon_free(NULL);
  printf("%d failures\n", failures);
  return failures != 0;
}
