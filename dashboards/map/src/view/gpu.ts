/** The little of WebGL 2 the fleet layer needs: a program, and a growing buffer of instances. */

export class Program {
  readonly handle: WebGLProgram;
  private readonly uniforms = new Map<string, WebGLUniformLocation | null>();

  constructor(private readonly gl: WebGL2RenderingContext, vertex: string, fragment: string) {
    this.handle = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
      const shader = gl.createShader(kind);
      if (shader === null) throw new Error('the WebGL context is lost');
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.handle, shader);
    }
    gl.linkProgram(this.handle);
    if (!gl.getProgramParameter(this.handle, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`a shader does not link: ${gl.getProgramInfoLog(this.handle) ?? ''}`);
    }
  }

  uniform(name: string): WebGLUniformLocation | null {
    let location = this.uniforms.get(name);
    if (location === undefined) {
      location = this.gl.getUniformLocation(this.handle, name);
      this.uniforms.set(name, location);
    }
    return location;
  }
}

/**
 * Rows of floats, kept here and on the graphics card. Only the range of rows written since the last
 * `upload` is sent. The rows outlive the card's copy: `attach` sends all of them to a new context.
 */
export class Instances {
  data: Float32Array;
  private buffer: WebGLBuffer | null = null;
  private low = Infinity;
  private high = -1;
  private grown = true;

  constructor(readonly stride: number, rows: number) {
    this.data = new Float32Array(stride * rows);
  }

  get rows(): number {
    return this.data.length / this.stride;
  }

  /** The offset of a row about to be written. */
  touch(row: number): number {
    if (row >= this.rows) {
      const grown = new Float32Array(Math.max(this.data.length * 2, (row + 1) * this.stride));
      grown.set(this.data);
      this.data = grown;
      this.grown = true;
    }
    this.low = Math.min(this.low, row);
    this.high = Math.max(this.high, row);
    return row * this.stride;
  }

  attach(gl: WebGL2RenderingContext): void {
    this.buffer = gl.createBuffer();
    this.grown = true;
  }

  /** Bind the buffer, after sending what changed. */
  upload(gl: WebGL2RenderingContext): void {
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    if (this.grown) {
      gl.bufferData(gl.ARRAY_BUFFER, this.data, gl.DYNAMIC_DRAW);
    } else if (this.high >= this.low) {
      const first = this.low * this.stride;
      gl.bufferSubData(gl.ARRAY_BUFFER, first * 4, this.data, first, (this.high + 1) * this.stride - first);
    }
    this.grown = false;
    this.low = Infinity;
    this.high = -1;
  }
}

/** A picture on the graphics card, to be drawn at any size up to its own. */
export class Texture {
  private picture: HTMLCanvasElement | null = null;
  private texture: WebGLTexture | null = null;
  private sent = false;

  set(picture: HTMLCanvasElement): void {
    this.picture = picture;
    this.sent = false;
  }

  attach(gl: WebGL2RenderingContext): void {
    this.texture = gl.createTexture();
    this.sent = false;
  }

  /** Bind it to the first unit, after sending it if it is new. */
  bind(gl: WebGL2RenderingContext): void {
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    if (this.sent || this.picture === null) return;
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, this.picture);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    this.sent = true;
  }
}

/** Split into two floats that together are accurate to well below a millimetre of the unit square. */
export function writeSplit(data: Float32Array, at: number, x: number, y: number): void {
  data[at] = x;
  data[at + 1] = x - Math.fround(x);
  data[at + 2] = y;
  data[at + 3] = y - Math.fround(y);
}
