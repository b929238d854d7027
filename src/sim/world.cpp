#include "sim/world.h"

#include <mujoco/mujoco.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/scene_mjcf.h"
#include "tendon/error.h"

namespace tendon::sim {
namespace {

constexpr int kSubsteps = 10;  // of 5 ms
constexpr float kColours[kColourNames.size()][3] = {
    {.85f, .12f, .12f}, {.12f, .70f, .18f}, {.15f, .25f, .90f}, {.92f, .80f, .10f}};

struct DeleteModel {
  void operator()(mjModel* model) const { mj_deleteModel(model); }
};
struct DeleteData {
  void operator()(mjData* data) const { mj_deleteData(data); }
};
using Model = std::unique_ptr<mjModel, DeleteModel>;
using Data = std::unique_ptr<mjData, DeleteData>;

Model compile_scene() {
  if (mj_version() != mjVERSION_HEADER) {
    throw Error(std::string("simulation: built for MuJoCo ") + std::to_string(mjVERSION_HEADER) +
                ", found " + mj_versionString() + "; install the version of CMake's MUJOCO_ROOT");
  }
  char message[400] = {};
  mjSpec* spec = mj_parseXMLString(kSceneMjcf, nullptr, message, sizeof message);
  Model model(spec != nullptr ? mj_compile(spec, nullptr) : nullptr);
  const std::string reason = spec != nullptr ? mjs_getError(spec) : message;
  if (spec != nullptr) mj_deleteSpec(spec);
  if (!model) throw Error("simulation: MuJoCo refuses the scene: " + reason);
  return model;
}

int id_of(const mjModel* model, mjtObj kind, const char* name) {
  const int id = mj_name2id(model, kind, name);
  if (id < 0) throw Error(std::string("simulation: the scene has no ") + name);
  return id;
}

template <class From>
void copy_floats(const From* from, int count, float* to) {
  for (int i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

}  // namespace

struct World::Impl {
  Model model = compile_scene();
  Data data{mj_makeData(model.get())};
  std::array<int, kCubes> cube_geom, cube_position, cube_velocity;
  std::array<int, kCameras> camera;
  int belt_velocity, tip;
  std::vector<Box> boxes;

  Impl() {
    const mjModel* m = model.get();
    for (int i = 0; i < kCubes; ++i) {
      const std::string name = "b" + std::to_string(i);
      const int joint = m->body_jntadr[id_of(m, mjOBJ_BODY, name.c_str())];
      cube_geom[i] = id_of(m, mjOBJ_GEOM, name.c_str());
      cube_position[i] = m->jnt_qposadr[joint];
      cube_velocity[i] = m->jnt_dofadr[joint];
    }
    camera = {id_of(m, mjOBJ_CAMERA, "base"), id_of(m, mjOBJ_CAMERA, "wrist")};
    belt_velocity = m->jnt_dofadr[id_of(m, mjOBJ_JOINT, "belt")];
    tip = id_of(m, mjOBJ_SITE, "tip");
    if (m->ngeom != kGeoms) throw Error("simulation: the scene must have kGeoms boxes");
    boxes.resize(m->ngeom);
    for (int g = 0; g < m->ngeom; ++g) {
      copy_floats(m->geom_size + 3 * g, 3, boxes[g].half);
      copy_floats(m->geom_rgba + 4 * g, 3, boxes[g].colour);
    }
  }
};

World::World() : impl_(std::make_unique<Impl>()) {}
World::~World() = default;
World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;

void World::reset(const Episode& episode) {
  const mjModel* m = impl_->model.get();
  mjData* d = impl_->data.get();
  mj_resetData(m, d);
  for (int i = 0; i < kCubes; ++i) {
    const Episode::Cube& cube = episode.cubes[i];
    const double pose[7] = {
        cube.x, cube.y, kCubeHalf, std::cos(cube.yaw / 2), 0, 0, std::sin(cube.yaw / 2)};
    std::copy_n(pose, 7, d->qpos + impl_->cube_position[i]);
    std::copy_n(kColours[cube.colour], 3, impl_->boxes[impl_->cube_geom[i]].colour);
  }
  for (int i = 0; i < 4; ++i) d->qpos[i] = d->ctrl[i] = episode.joints[i];
  for (int i = 4; i < 6; ++i) d->qpos[i] = d->ctrl[i] = episode.opening * kFingerTravel;
  if (episode.table_speed != 0) {
    const double velocity = -std::copysign(episode.table_speed, episode.cubes[episode.target].y);
    d->qvel[impl_->belt_velocity] = velocity;
    for (int i = 0; i < kCubes; ++i) d->qvel[impl_->cube_velocity[i] + 1] = velocity;
  }
  mj_forward(m, d);
}

void World::step(const Command& command) {
  const mjModel* m = impl_->model.get();
  mjData* d = impl_->data.get();
  for (int i = 0; i < 4; ++i) {
    const double* range = m->actuator_ctrlrange + 2 * i;
    d->ctrl[i] = std::clamp(command.joints[i], range[0], range[1]);
  }
  d->ctrl[4] = d->ctrl[5] = std::clamp(command.gripper, 0.0, 1.0) * kFingerTravel;
  for (int i = 0; i < kSubsteps; ++i) mj_step(m, d);
}

Joints World::joints() const {
  const double* q = impl_->data->qpos;
  return {q[0], q[1], q[2], q[3]};
}

double World::opening() const {
  const double* q = impl_->data->qpos;
  return (q[4] + q[5]) / (2 * kFingerTravel);
}

Vec3 World::tip() const {
  const double* at = impl_->data->site_xpos + 3 * impl_->tip;
  return {at[0], at[1], at[2]};
}

Vec3 World::cube(int index) const {
  const double* at = impl_->data->geom_xpos + 3 * impl_->cube_geom[index];
  return {at[0], at[1], at[2]};
}

int World::held_up() const {
  for (int i = 0; i < kCubes; ++i) {
    const Vec3 at = cube(i);
    if (at[2] > kCubeHalf + 0.05 && distance(at, tip()) < 0.03) return i;
  }
  return -1;
}

const std::vector<Box>& World::boxes() {
  const mjData* d = impl_->data.get();
  for (std::size_t g = 0; g < impl_->boxes.size(); ++g) {
    copy_floats(d->geom_xpos + 3 * g, 3, impl_->boxes[g].position);
    copy_floats(d->geom_xmat + 9 * g, 9, impl_->boxes[g].rotation);
  }
  return impl_->boxes;
}

View World::view(int camera) const {
  const int id = impl_->camera[camera];
  View view;
  copy_floats(impl_->data->cam_xpos + 3 * id, 3, view.position);
  copy_floats(impl_->data->cam_xmat + 9 * id, 9, view.rotation);
  view.fovy = impl_->model->cam_fovy[id];
  return view;
}

void World::place_cube(int index, const Vec3& at) {
  mjData* d = impl_->data.get();
  const double pose[7] = {at[0], at[1], at[2], 1, 0, 0, 0};
  std::copy_n(pose, 7, d->qpos + impl_->cube_position[index]);
  std::fill_n(d->qvel + impl_->cube_velocity[index], 6, 0.0);
  mj_forward(impl_->model.get(), d);
}

const Light& scene_light() {
  static const Light light = [] {
    const double length = std::sqrt(.35 * .35 + .25 * .25 + .9 * .9);
    return Light{.5f,
                 .5f,
                 {static_cast<float>(-.35 / length), static_cast<float>(.25 / length),
                  static_cast<float>(-.9 / length)}};
  }();
  return light;
}

const char* physics_version() { return mj_versionString(); }

}  // namespace tendon::sim
