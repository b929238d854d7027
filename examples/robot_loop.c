/* A control loop in C: one action a tick, a new chunk when the current one is used up.
 *   robot_loop_c MODEL "pick up the red block"
 * Put your robot in the place of look() and move(); the rest stays as it is. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tendon/tendon_c.h"

enum { kInputs = 16, kNumbers = 64, kActions = 64, kSide = 224, kSeconds = 2 };

static int refused(void) {
  fprintf(stderr, "robot_loop_c: %s\n", tendon_last_error());
  return 2;
}

/* Stands in for a robot: grey cameras, joints that follow their targets half-way each tick. */
struct Robot {
  uint8_t picture[kSide * kSide * 3];
  double joints[kNumbers];
  int64_t picture_shape[3], vector_shape[kInputs];
  tendon_array arrays[kInputs];
  size_t count;
};

/* The newest picture of each camera and the state, in the units of the training. */
static tendon_status look(struct Robot* robot, const tendon_policy* policy, int inputs) {
  robot->count = 0;
  for (int i = 0; i < inputs && i < kInputs; ++i) {
    tendon_input input = TENDON_INIT(tendon_input);
    const tendon_status status = tendon_get_input(policy, i, &input);
    if (status != TENDON_OK) return status;
    if (!input.required || input.count > kNumbers) continue;
    const int vector = input.count > 0;
    robot->vector_shape[i] = input.count;
    robot->arrays[robot->count++] = (tendon_array){
        .key = input.key,
        .data = vector ? (const void*)robot->joints : robot->picture,
        .dtype = vector ? TENDON_F64 : TENDON_U8,
        .rank = vector ? 1 : 3,
        .shape = vector ? &robot->vector_shape[i] : robot->picture_shape,
    };
  }
  return TENDON_OK;
}

/* Keep your own limits here: a policy's numbers are not checked against what your joints may do. */
static void move(struct Robot* robot, const double* action, int width) {
  for (int i = 0; i < width && i < kNumbers; ++i) {
    robot->joints[i] += (action[i] - robot->joints[i]) / 2;
  }
}

static int drive(tendon_policy* policy, const char* prompt, struct Robot* robot) {
  tendon_info info = TENDON_INIT(tendon_info);
  if (tendon_get_info(policy, &info) != TENDON_OK) return refused();
  const double hz = info.control_hz > 0 ? info.control_hz : 20;
  double action[kActions];
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (int tick = 0; tick < (int)(kSeconds * hz); ++tick) {
    tendon_observation seen = TENDON_INIT(tendon_observation);
    if (tendon_actions_left(policy) == 0) {
      if (look(robot, policy, info.input_count) != TENDON_OK) return refused();
      seen.arrays = robot->arrays;
      seen.count = robot->count;
      seen.prompt = prompt;
    }
    const size_t width = (size_t)info.width;
    if (tendon_next_action(policy, &seen, NULL, action, width) != TENDON_OK) return refused();
    move(robot, action, info.width);
    if (tick % 10 == 0) printf("tick %3d: first joint %.4f\n", tick, robot->joints[0]);
    next.tv_nsec += (long)(1e9 / hz);
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: robot_loop_c MODEL [PROMPT]\n");
    return 2;
  }
  const char* prompt = argc > 2 ? argv[2] : "pick up the red block";
  tendon_policy* policy = NULL;
  if (tendon_load(argv[1], NULL, &policy) != TENDON_OK) return refused();
  if (tendon_warm_up(policy, prompt) != TENDON_OK) return refused();
  struct Robot* robot = calloc(1, sizeof(*robot));
  if (robot == NULL) return 2;
  robot->picture_shape[0] = robot->picture_shape[1] = kSide;
  robot->picture_shape[2] = 3;
  memset(robot->picture, 128, sizeof(robot->picture));
  const int code = drive(policy, prompt, robot);
  free(robot);
  tendon_free(policy);
  return code;
}
