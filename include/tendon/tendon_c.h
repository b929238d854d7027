/* tendon's C ABI: load a checkpoint, give it observations, get chunks of actions or one action a
 * control tick. The shared library tendon_c exports what stands here and nothing else.
 *
 *   tendon_policy* policy = NULL;
 *   if (tendon_load("/models/pi05_libero", NULL, &policy) != TENDON_OK) puts(tendon_last_error());
 *
 * Errors: a function that can fail returns a status; tendon_last_error() has the sentence. After a
 * failure outputs are as they were. Nothing is thrown, printed or read from the environment.
 *
 * Threads: one thread at a time for one policy; a second one that comes meanwhile gets TENDON_BUSY
 * and nothing happens. Different policies know nothing of each other.
 *
 * Growth: structs with `size` may get further members at their end. Set `size` to sizeof the
 * struct, the rest to zero: TENDON_INIT does. */
#ifndef TENDON_TENDON_C_H
#define TENDON_TENDON_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TENDON_ABI_VERSION 1
#define TENDON_API __attribute__((visibility("default")))
/* tendon_chunk chunk = TENDON_INIT(tendon_chunk); */
#define TENDON_INIT(type) \
  { .size = sizeof(type) }

typedef int32_t tendon_status;
enum {
  TENDON_OK = 0,
  TENDON_REFUSED = 1, /* bad input, or the device failed: see tendon_last_error() */
  TENDON_BUSY = 2     /* another thread is inside a call on the same policy */
};

typedef int32_t tendon_dtype;
enum {
  TENDON_BOOL,
  TENDON_U8,
  TENDON_I8,
  TENDON_U16,
  TENDON_I16,
  TENDON_U32,
  TENDON_I32,
  TENDON_U64,
  TENDON_I64,
  TENDON_F16,
  TENDON_F32,
  TENDON_F64
};

/* A loaded checkpoint with the chunk it made last. */
typedef struct tendon_policy tendon_policy;

/* Everything may be left zero. Texts are UTF-8 and copied. */
typedef struct tendon_load_options {
  size_t size;
  const char* device;         /* "cpu" (default), "cuda", "cuda:1", "reference" */
  const char* dtype;          /* "f32", "bf16"; NULL: bf16 where the checkpoint is, else f32 */
  const char* contract;       /* built-in name or JSON file; NULL: from the checkpoint */
  const char* tokenizer;      /* file; NULL: in the checkpoint's folder */
  const char* statistics;     /* file; NULL: in the checkpoint's folder */
  const char* default_prompt; /* used where an observation has none */
  const char* context;        /* file of text rows used for every prompt */
  const char* text_cache;     /* folder where text rows of encoded prompts are kept */
  const char* schedule;       /* "exact", "bf16" or "divided" time steps; NULL: the contract's */
  int32_t threads;            /* CPU threads; 0: all */
  int32_t max_steps;          /* most denoising steps a call may ask for; 0: 100 */
  int32_t truncate_prompt;    /* 1: cut a prompt that is over capacity; 0: refuse it */
  int32_t execute; /* rows of a chunk that are served; 0: the contract's number, else all */
  uint64_t seed;   /* of the noise: request n since load or reset draws number n */
  /* Told what is being loaded and how far it is, in [0, 1], on the loading thread. */
  void (*progress)(const char* what, double done, void* user);
  void* user;
  int64_t frame_pixels; /* above 0: the device resizes camera frames of up to so many pixels */
} tendon_load_options;

/* An array that the caller owns. Pictures: u8, or floats in [0, 1]; [height, width, 3] or
 * [3, height, width] as the contract says; u8 [height, width, 3] is not copied. Vectors: any dtype,
 * one axis, robot units. */
typedef struct tendon_array {
  const char* key;  /* the contract's: "observation/image", "images/cam_high", "state" */
  const void* data; /* needs no alignment */
  tendon_dtype dtype;
  int32_t rank;           /* axes, at most 8; 0: a scalar */
  const int64_t* shape;   /* [rank] */
  const int64_t* strides; /* [rank], bytes between neighbours of each axis; NULL: dense */
} tendon_array;

/* What the robot sees and is told. Read during the call only. */
typedef struct tendon_observation {
  size_t size;
  const tendon_array* arrays; /* [count]; a key that the policy does not take is an error */
  size_t count;
  const char* prompt; /* UTF-8; NULL: the default prompt */
} tendon_observation;

/* How pinned rows take part; a family refuses those it does not know. */
typedef int32_t tendon_pin_rule;
enum { TENDON_PIN_FAMILY, TENDON_PIN_CONDITIONED, TENDON_PIN_RENOISED, TENDON_PIN_CLAMPED };

typedef struct tendon_infer_options {
  size_t size;
  const uint64_t* seed; /* of this call's noise; NULL: the session's next */
  int32_t steps;        /* denoising steps; 0: the contract's */
  tendon_pin_rule pin_rule;
  const float* noise;  /* [horizon, model_width]; NULL: drawn from the seed */
  size_t noise_count;  /* numbers */
  const float* pinned; /* [rows, model_width]: first rows of model_actions, decided already */
  size_t pinned_count; /* numbers */
  double shift;        /* of the time schedule, for families that have one; 0: the contract's */
} tendon_infer_options;

typedef struct tendon_timing {
  char part[24]; /* "preprocess", "vision", "prefix", ... */
  double seconds;
} tendon_timing;

/* Owned by the policy, valid until the next call that infers, and until tendon_free. */
typedef struct tendon_chunk {
  size_t size;
  int32_t horizon, width, model_width;
  int32_t timing_count;
  const double* actions;       /* [horizon, width], robot units */
  const float* model_actions;  /* [horizon, model_width], normalised */
  const tendon_timing* timing; /* [timing_count]; adds up to about `seconds` */
  double seconds;
} tendon_chunk;

/* What a policy takes. Texts are owned by the policy. */
typedef struct tendon_input {
  size_t size;
  const char* key;  /* for tendon_array */
  const char* slot; /* the model's camera slot; "" for a vector */
  int32_t count;    /* numbers of a vector; 0 for a picture */
  int32_t required; /* 1 or 0 */
} tendon_input;

/* What was loaded. Texts are owned by the policy. */
typedef struct tendon_info {
  size_t size;
  const char *family, *contract, *device, *dtype, *schedule;
  const char *weights_fingerprint, *statistics_sha256, *tokenizer_sha256;
  const char* metadata_json; /* what the contract tells clients, a JSON object */
  int32_t horizon, width, model_width;
  int32_t default_steps;
  int32_t execute; /* rows of a chunk that tendon_next_action serves */
  int32_t input_count;
  double control_hz; /* ticks a second; 0: the contract does not state it */
  size_t weight_bytes, buffer_bytes, arena_bytes;
} tendon_info;

/* Loads a checkpoint folder or file. `options` may be NULL. On success *policy is the caller's to
 * give to tendon_free; on failure it is NULL. Takes seconds to minutes. */
TENDON_API tendon_status tendon_load(const char* path, const tendon_load_options* options,
                                     tendon_policy** policy);

/* One inference on black pictures and a zero state whose result is dropped: afterwards calls of
 * this size find everything in place, the prompt's text rows too. `prompt` may be NULL where there
 * is a default one. Neither the current chunk nor the noise of later calls changes. */
TENDON_API tendon_status tendon_warm_up(tendon_policy* policy, const char* prompt);

/* Makes a chunk, which becomes the current one: tendon_next_action serves it from its first row.
 * `options` and `chunk` may be NULL. Equal observation, seed, steps and checkpoint give equal
 * chunks, bit for bit, on one machine. */
TENDON_API tendon_status tendon_infer(tendon_policy* policy, const tendon_observation* observation,
                                      const tendon_infer_options* options, tendon_chunk* chunk);

/* Rows of the current chunk that tendon_next_action still serves before it infers. */
TENDON_API int32_t tendon_actions_left(const tendon_policy* policy);

/* The next tick's action: `width` doubles (as tendon_info says), robot units. Where no action is
 * left it infers first, from `observation`; otherwise `observation` and `options` are not read and
 * may be NULL. Copying a row takes well under a microsecond; an inference takes what
 * tendon_infer takes. */
TENDON_API tendon_status tendon_next_action(tendon_policy* policy,
                                            const tendon_observation* observation,
                                            const tendon_infer_options* options, double* action,
                                            size_t width);

/* A new episode: drops the current chunk, starts the noise again at request 0. */
TENDON_API tendon_status tendon_reset(tendon_policy* policy);

TENDON_API tendon_status tendon_get_info(const tendon_policy* policy, tendon_info* info);
/* Input number `index`, below tendon_info's input_count. */
TENDON_API tendon_status tendon_get_input(const tendon_policy* policy, int32_t index,
                                          tendon_input* input);

/* NULL is fine. No call on the policy may be under way. */
TENDON_API void tendon_free(tendon_policy* policy);

/* Why the latest call that failed on this thread did: one sentence, UTF-8, "" where none has.
 * Valid until the next failure on this thread. */
TENDON_API const char* tendon_last_error(void);

TENDON_API const char* tendon_version(void); /* of the library, "0.1.0" */
TENDON_API int32_t tendon_abi_version(void); /* TENDON_ABI_VERSION it was built with */

#ifdef __cplusplus
}
#endif

#endif /* TENDON_TENDON_C_H */
