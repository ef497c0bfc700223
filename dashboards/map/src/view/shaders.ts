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
uniform float u_radius_px;
uniform float u_bearing;
in vec2 a_corner;
in vec4 a_from;
in vec4 a_to;
in vec4 a_time_course; // start s, end s, first course, last course (radians)
in float a_look;       // index of the live state; negative is hidden
out vec2 v_at;
flat out int v_look;
void main() {
  v_look = int(a_look);
  float t = along(a_time_course.xy);
  vec2 px = mix(fromCenterPx(a_from), fromCenterPx(a_to), t);
  float course = mix(a_time_course.z, a_time_course.w, min(1.0, t * 3.0)) - u_bearing;
  float c = cos(course), s = sin(course);
  // Half as large again as the shape: room for its outline and shadow.
  vec2 corner = a_corner * u_radius_px * 1.5;
  v_at = a_corner * 1.5;
  if (v_look == 0) corner = vec2(corner.x * c - corner.y * s, corner.x * s + corner.y * c);
  gl_Position = a_look < 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : clip(px + corner);
}`;

// Shape as well as colour tells the state: arrow, dot, hollow dot, cross in a ring.
export const MARKER_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_colors[4];
uniform vec3 u_outline;
uniform vec4 u_halo;
uniform float u_radius_px;
in vec2 v_at;
flat in int v_look;
out vec4 color;

float polygon(vec2 p) {
  const vec2 v[4] = vec2[4](vec2(0.0, -1.0), vec2(0.74, 0.86), vec2(0.0, 0.5), vec2(-0.74, 0.86));
  float d = dot(p - v[0], p - v[0]);
  float s = 1.0;
  for (int i = 0, j = 3; i < 4; j = i, i++) {
    vec2 e = v[j] - v[i], w = p - v[i];
    vec2 b = w - e * clamp(dot(w, e) / dot(e, e), 0.0, 1.0);
    d = min(d, dot(b, b));
    bvec3 q = bvec3(p.y >= v[i].y, p.y < v[j].y, e.x * w.y > e.y * w.x);
    if (all(q) || all(not(q))) s = -s;
  }
  return s * sqrt(d);
}
float segment(vec2 p, vec2 a, vec2 b) {
  vec2 e = b - a;
  return length(p - a - e * clamp(dot(p - a, e) / dot(e, e), 0.0, 1.0));
}
void main() {
  float soft = 1.0 / u_radius_px;
  float d = v_look == 0 ? polygon(v_at) - 0.06 : length(v_at) - 0.66;
  vec3 fill = u_colors[v_look];
  if (v_look >= 2 && d < -0.24) fill = u_outline;
  if (v_look == 3) {
    float cross = min(segment(v_at, vec2(-0.24), vec2(0.24)), segment(v_at, vec2(-0.24, 0.24), vec2(0.24, -0.24)));
    fill = mix(fill, u_colors[3], 1.0 - smoothstep(0.09, 0.09 + soft, cross));
  }
  float body = 1.0 - smoothstep(-soft, soft, d);
  float edge = 1.0 - smoothstep(-soft, soft, d - 0.17);
  float halo = u_halo.a * (1.0 - smoothstep(1.3 - soft, 1.3, length(v_at)));
  float shadow = 0.28 * (1.0 - smoothstep(0.05, 0.5, d));
  vec4 under = vec4(u_halo.rgb * halo, halo);
  under = vec4(under.rgb * (1.0 - shadow), under.a + shadow * (1.0 - under.a));
  vec4 over = vec4(mix(u_outline, fill, body), 1.0) * edge;
  color = over + under * (1.0 - over.a);
}`;

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
