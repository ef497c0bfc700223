/**
 * GLSL for the fleet layer. Movement is computed here, once per vertex and frame, so that the
 * processor does nothing for a device between two fixes.
 *
 * Mercator places come as two floats each (a coarse and a fine part) and are taken relative to the
 * middle of the screen, because one 32-bit float is 2.4 m coarse.
 */

const PLACING = `
uniform vec4 u_center;    // x coarse, x fine, y coarse, y fine
uniform float u_world_px; // the world's width in pixels
uniform vec2 u_turn;      // cosine and sine of the map's bearing
uniform vec2 u_view_px;   // half the canvas
uniform float u_now_s;
uniform float u_ratio;    // device pixels per pixel

vec2 fromCenterPx(vec4 place) {
  vec2 d = ((place.xz - u_center.xz) + (place.yw - u_center.yw)) * u_world_px;
  return vec2(d.x * u_turn.x + d.y * u_turn.y, -d.x * u_turn.y + d.y * u_turn.x);
}
vec4 clip(vec2 px) { return vec4(px.x / u_view_px.x, -px.y / u_view_px.y, 0.0, 1.0); }
float along(vec2 span_s) {
  return span_s.y <= span_s.x ? 1.0 : clamp((u_now_s - span_s.x) / (span_s.y - span_s.x), 0.0, 1.0);
}`;

export const MARKER_VERTEX = `#version 300 es
precision highp float;
${PLACING}
uniform float u_radius_px; // half the side of the square, not of the mark in it
uniform float u_bearing;
uniform float u_cells;
uniform float u_cell;      // this cell for all; negative: that of the device's state
in vec2 a_corner;
in vec4 a_from;
in vec4 a_to;
in vec4 a_time_course; // start s, end s, first course, last course (radians)
in float a_look;       // index of the live state; negative is hidden
out vec2 v_at;
void main() {
  float t = along(a_time_course.xy);
  vec2 px = mix(fromCenterPx(a_from), fromCenterPx(a_to), t);
  // A turn is over in the first third of the way, as a driver's is.
  float course = mix(a_time_course.z, a_time_course.w, min(1.0, t * 3.0)) - u_bearing;
  float c = cos(course), s = sin(course);
  vec2 corner = a_corner * u_radius_px;
  if (a_look == 0.0) corner = vec2(corner.x * c - corner.y * s, corner.x * s + corner.y * c);
  float cell = u_cell < 0.0 ? a_look : u_cell;
  v_at = vec2((cell + a_corner.x * 0.5 + 0.5) / u_cells, a_corner.y * 0.5 + 0.5);
  gl_Position = a_look < 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : clip(px + corner);
}`;

export const MARKER_FRAGMENT = `#version 300 es
precision mediump float;
uniform sampler2D u_icons;
in highp vec2 v_at;
out vec4 color;
void main() { color = texture(u_icons, v_at); }`;

export const TAIL_VERTEX = `#version 300 es
precision highp float;
${PLACING}
uniform float u_fade_s;
in vec2 a_corner; // x 0 at the start and 1 at the end, y -1 and 1 across
in vec4 a_from;
in vec4 a_to;
in vec2 a_time; // start s, end s
out float v_fade;
out float v_across;
void main() {
  float t = along(a_time);
  vec2 a = fromCenterPx(a_from);
  vec2 b = mix(a, fromCenterPx(a_to), t);
  vec2 d = b - a;
  float reach = length(d);
  vec2 dir = reach > 0.0 ? d / reach : vec2(1.0, 0.0);
  float age_s = u_now_s - mix(a_time.x, a_time.y, a_corner.x * t);
  v_fade = 1.0 - clamp(age_s / u_fade_s, 0.0, 1.0);
  v_across = a_corner.y;
  vec2 px = (a_corner.x > 0.5 ? b : a) + vec2(-dir.y, dir.x) * a_corner.y * 2.2 * u_ratio;
  bool gone = reach == 0.0 || u_now_s - a_time.y > u_fade_s;
  gl_Position = gone ? vec4(2.0, 2.0, 2.0, 1.0) : clip(px);
}`;

export const TAIL_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_color;
in float v_fade;
in float v_across;
out vec4 color;
void main() {
  float a = 0.8 * v_fade * v_fade * (1.0 - smoothstep(0.45, 1.0, abs(v_across)));
  color = vec4(u_color * a, a);
}`;
