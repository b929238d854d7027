#include "sim/scene_mjcf.h"

namespace tendon::sim {

const char* const kSceneMjcf = R"(
<mujoco model="pick_block">
 <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="10"
         gravity="0 0 -9.81"/>
 <compiler autolimits="true" angle="radian"/>
 <statistic extent="1" center=".2 0 .1"/>
 <visual>
  <headlight ambient="0.5 0.5 0.5" diffuse="0 0 0" specular="0 0 0"/>
  <quality offsamples="0" shadowsize="0"/>
  <map znear="0.02" zfar="20"/>
  <global offwidth="640" offheight="480"/>
 </visual>
 <asset><material name="m" specular="0" shininess="0" reflectance="0"/></asset>
 <default>
  <geom material="m" type="box" contype="0" conaffinity="0" density="400"/>
  <joint damping="1.0" armature="0.01"/>
  <default class="pos"><position kp="120" dampratio="1"/></default>
  <default class="fin">
   <geom contype="1" conaffinity="1" friction="1.5 .02 .001" condim="4" density="800"/>
  </default>
  <default class="blk">
   <geom contype="1" conaffinity="1" friction="1.2 .02 .001" condim="4" mass="0.03"/>
  </default>
 </default>
 <worldbody>
  <light directional="true" dir="-0.350878 0.250627 -0.902258" diffuse="0.5 0.5 0.5"
         ambient="0 0 0" specular="0 0 0" castshadow="false"/>
  <camera name="base" pos="0.60 0 0.42" xyaxes="0 1 0 -0.707 0 0.707" fovy="55"/>
  <geom name="pedestal" size=".05 .05 .03" pos="0 0 .03" rgba=".25 .25 .28 1"/>
  <body name="yaw" pos="0 0 .06" gravcomp="1">
   <joint name="j1" axis="0 0 1" range="-1.6 1.6"/>
   <geom name="col" size=".03 .03 .04" pos="0 0 .04" rgba=".8 .8 .82 1"/>
   <body name="upper" pos="0 0 0.08" gravcomp="1">
    <joint name="j2" axis="0 1 0" range="-1.2 1.7"/>
    <geom name="upper" size=".018 .022 0.11" pos="0 0 0.11" rgba=".9 .9 .9 1"/>
    <body name="fore" pos="0 0 0.22" gravcomp="1">
     <joint name="j3" axis="0 1 0" range="0.1 2.7"/>
     <geom name="fore" size=".016 .018 0.11" pos="0 0 0.11" rgba=".35 .37 .42 1"/>
     <body name="hand" pos="0 0 0.22" gravcomp="1">
      <joint name="j4" axis="0 1 0" range="-0.5 3.2"/>
      <geom name="palm" size=".016 .048 .016" pos="0 0 .035" rgba=".2 .2 .22 1"/>
      <camera name="wrist" pos="-0.055 0 0.0" xyaxes="0 -1 0 -0.981 0 0.196" fovy="80"/>
      <site name="tip" pos="0 0 0.1" size=".003" rgba="0 0 0 0"/>
      <body name="fl" pos="0 0.006 .08" gravcomp="1">
       <joint name="f1" type="slide" axis="0 1 0" range="0 0.036" damping="2" armature=".02"/>
       <geom class="fin" name="fl" size=".010 .005 .032" pos="0 0.001 0" rgba=".95 .55 .15 1"/>
      </body>
      <body name="fr" pos="0 -0.006 .08" gravcomp="1">
       <joint name="f2" type="slide" axis="0 -1 0" range="0 0.036" damping="2" armature=".02"/>
       <geom class="fin" name="fr" size=".010 .005 .032" pos="0 -0.001 0" rgba=".95 .55 .15 1"/>
      </body>
     </body>
    </body>
   </body>
  </body>
  <body name="b0" pos="0.2 -0.12 0.018"><freejoint/>
   <geom class="blk" name="b0" size="0.018 0.018 0.018" rgba="1 1 1 1"/></body>
  <body name="b1" pos="0.25 0.0 0.018"><freejoint/>
   <geom class="blk" name="b1" size="0.018 0.018 0.018" rgba="1 1 1 1"/></body>
  <body name="b2" pos="0.3 0.12 0.018"><freejoint/>
   <geom class="blk" name="b2" size="0.018 0.018 0.018" rgba="1 1 1 1"/></body>
  <body name="belt">
   <joint name="belt" type="slide" axis="0 1 0" damping="0" armature="0"/>
   <geom name="table" size=".6 1.6 .02" pos=".25 0 -.02" mass="1000" rgba="0.55 0.5 0.45 1"
         contype="1" conaffinity="1" friction="1 .02 .001" condim="4"/>
  </body>
 </worldbody>
 <actuator>
  <position class="pos" joint="j1" ctrlrange="-1.6 1.6"/>
  <position class="pos" joint="j2" ctrlrange="-1.2 1.7"/>
  <position class="pos" joint="j3" ctrlrange="0.1 2.7"/>
  <position class="pos" joint="j4" ctrlrange="-0.5 3.2"/>
  <position joint="f1" kp="400" dampratio="1" ctrlrange="0 0.036" forcerange="-12 12"/>
  <position joint="f2" kp="400" dampratio="1" ctrlrange="0 0.036" forcerange="-12 12"/>
 </actuator>
</mujoco>)";

}  // namespace tendon::sim
