// Convolution and its gradients as products of matrices that are never stored, by the tiles of mma_tile.cuh: what the
// kernels of conv_mma.cu and conv_mma_precise.cu do. Arrays have channels last.
#pragma once
#include "conv.cuh"
#include "conv_finish.cuh"
#include "mma_tile.cuh"
#include "relu.cuh"
#include "types.cuh"
#include "window.cuh"

// How far one step of a tap goes along a dimension: in positions and in memory.
struct Step {
  index_t taps, by, offset;
};

// What the copies of a correlation need.
struct Correlate {
  Walk d, h, w;
  Strides in, out;
  index_t size_d, size_h, size_w;  // of the array that is read
  index_t channels, results;       // of a group: that are added up, and that are made
  index_t kernel_d, kernel_h, kernel_w;
  index_t positions;               // of all images, that this product makes
};

__device__ __forceinline__ Step step_of(const Walk& walk, index_t stride) {
  return Step{walk.taps, walk.tap_step, walk.tap_step * stride};
}

// A thread's chunk of k: the tap and the channel that it begins with.
struct Tap {
  index_t d, h, w, channel;
};

__device__ __forceinline__ void advance(Tap& tap, const Correlate& of, index_t by) {
  tap.channel += by;
  while (tap.channel >= of.channels) {
    tap.channel -= of.channels;
    if (++tap.w < of.w.taps) continue;
    tap.w = 0;
    if (++tap.h < of.h.taps) continue;
    tap.h = 0;
    ++tap.d;
  }
}

constexpr int lanes_k = chunks, lanes_row = workers / chunks;  // threads along k and along the rows of a slice
constexpr int rows_a = tile_m / lanes_row, rows_b = tile_n / lanes_row;

// Where the rows of a tile are read, one thread's.
struct Rows {
  index_t offset[rows_a], d[rows_a], h[rows_a], w[rows_a];
};

__device__ __forceinline__ void copy_slice(
    Stage& stage, const Correlate& of, const Rows& rows, const Tap& tap, const scalar_t* x, const scalar_t* w,
    index_t column0) {
  const int c = (int)threadIdx.x % lanes_k, row = (int)threadIdx.x / lanes_k;
  const Step d = step_of(of.d, of.in.d), h = step_of(of.h, of.in.h), v = step_of(of.w, of.in.w);
  const bool any = tap.d < d.taps;
  const index_t along = tap.d * d.offset + tap.h * h.offset + tap.w * v.offset + tap.channel;
#pragma unroll
  for (int i = 0; i < rows_a; ++i) {
    const bool inside = any && between(rows.d[i] + tap.d * d.by, of.size_d) &&
                        between(rows.h[i] + tap.h * h.by, of.size_h) && between(rows.w[i] + tap.w * v.by, of.size_w);
    const scalar_t* from = inside ? x + (rows.offset[i] + along) : x;
    copy_async<16>(&stage.a[place_in_rows(row + i * lanes_row, c)], from, inside ? 16 : 0);
  }
  const index_t slab = of.d.first_tap + tap.d * of.d.next_tap, line = of.h.first_tap + tap.h * of.h.next_tap;
  const index_t place = (slab * of.kernel_h + line) * of.kernel_w + of.w.first_tap + tap.w * of.w.next_tap;
  const index_t taps = of.kernel_d * of.kernel_h * of.kernel_w;
#pragma unroll
  for (int j = 0; j < rows_b; ++j) {
    const index_t n = column0 + row + j * lanes_row;
    const bool inside = any && n < of.results;
    const scalar_t* from = inside ? w + ((n * taps + place) * of.channels + tap.channel) : w;
    copy_async<16>(&stage.b[place_in_rows(row + j * lanes_row, c)], from, inside ? 16 : 0);
  }
}

// The place of a row. POOLED: four rows are a window of 2 x 2, the windows in row-major order; what is left over of an odd
// height or width is no row.
template <bool POOLED>
__device__ __forceinline__ Place place_of_row(const Correlate& of, index_t row) {
  if constexpr (POOLED) {
    const Place o = place_of(row / 4, of.d.count, of.h.count / 2, of.w.count / 2);
    return Place{o.plane, o.d, o.h * 2 + row % 4 / 2, o.w * 2 + row % 2};
  } else {
    return place_of(row, of.d.count, of.h.count, of.w.count);
  }
}

// Where row m of a tile goes in the result; -1 outside.
__device__ __forceinline__ index_t place_of_result(const Correlate& of, index_t position) {
  if (position >= of.positions) return -1;
  const Place u = place_of(position, of.d.count, of.h.count, of.w.count);
  return u.plane * of.out.n + offset_of(of.out, of.d.first_out + u.d * of.d.next_out,
                                        of.h.first_out + u.h * of.h.next_out, of.w.first_out + u.w * of.w.next_out);
}

__device__ __forceinline__ void write_results(
    const Memory& memory, const Correlate& of, const Finish& finish, index_t row0, index_t column0, scalar_t* y) {
  const bool whole = of.results % chunk == 0;
  for (int i = (int)threadIdx.x; i < tile_m * (tile_n / chunk); i += workers) {
    const int m = i / (tile_n / chunk), n = i % (tile_n / chunk) * chunk;
    const index_t to = place_of_result(of, row0 + m), column = column0 + n;
    if (to < 0 || column >= of.results) continue;
    Chunk made;
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < chunk; ++j) {
      const bool inside = column + j < of.results;
      const float more = finish.biased && inside ? to_acc(finish.bias[column + j]) : 0.0f;
      const scalar_t sum = to_scalar(memory.result[m * result_pitch + n + j] + more);
      made.of[j] = finish.rectify ? rectified(sum) : sum;
      if (inside && to_acc(made.of[j]) != 0) bits |= 1u << j;
      if (!whole && inside) y[to + column + j] = made.of[j];
    }
    if (whole) *reinterpret_cast<Chunk*>(y + to + column) = made;
    if (finish.masked) finish.mask[(row0 + m) * finish.mask_pitch + column / chunk] = (uint8)bits;
  }
}

// The tile at (row0, column0): x at the group's first channel, w at its first row, y at its first result.
template <bool PRECISE, bool POOLED>
__device__ __forceinline__ void correlate(
    Memory& memory, const Correlate& of, index_t row0, index_t column0, const scalar_t* x, const scalar_t* w,
    const Finish& finish, scalar_t* y) {
  const int row = (int)threadIdx.x / lanes_k;
  Rows rows;
#pragma unroll
  for (int i = 0; i < rows_a; ++i) {
    const index_t position = row0 + row + i * lanes_row;
    const Place u = place_of_row<POOLED>(of, position);
    rows.d[i] = position < of.positions ? of.d.origin + u.d * of.d.step : -(of.size_d + of.d.taps * of.kernel_d + 1);
    rows.h[i] = of.h.origin + u.h * of.h.step;
    rows.w[i] = of.w.origin + u.w * of.w.step;
    rows.offset[i] = u.plane * of.in.n + offset_of(of.in, rows.d[i], rows.h[i], rows.w[i]);
  }
  const index_t terms = of.d.taps * of.h.taps * of.w.taps * of.channels, count = (terms + depth - 1) / depth;
  Tap tap = {terms > 0 ? 0 : of.d.taps, 0, 0, 0};
  if (terms > 0) advance(tap, of, (index_t)threadIdx.x % lanes_k * chunk);
  Sums<PRECISE> sums = {};
#pragma unroll
  for (int s = 0; s < stages - 1; ++s) {
    if (s < count) {
      copy_slice(memory.stage[s], of, rows, tap, x, w, column0);
      advance(tap, of, depth);
    }
    commit_copies();
  }
  for (index_t k = 0; k < count; ++k) {
    wait_copies<stages - 2>();
    __syncthreads();
    if (k + stages - 1 < count) {
      copy_slice(memory.stage[(k + stages - 1) % stages], of, rows, tap, x, w, column0);
      advance(tap, of, depth);
    }
    commit_copies();
    multiply_rows(memory.stage[k % stages], sums);
  }
  __syncthreads();
  put_sums(memory, sums);
  __syncthreads();
  if constexpr (POOLED) {
    write_maxima(memory, finish, of.positions, of.results, row0, column0, y);
  } else {
    write_results(memory, of, finish, row0, column0, y);
  }
}

// The tile of this block among those of rows x columns, columns varying fastest, and `rest` = block / tiles.
struct Spot {
  index_t row0, column0, rest;
};

__device__ __forceinline__ Spot spot_of(index_t rows, index_t columns) {
  const index_t down = (rows + tile_m - 1) / tile_m, along = (columns + tile_n - 1) / tile_n;
  const index_t block = (index_t)blockIdx.x;
  return Spot{block / along % down * tile_m, block % along * tile_n, block / along / down};
}

template <bool PRECISE, bool POOLED>
__device__ __forceinline__ void forward(
    const scalar_t* x, const scalar_t* w, const scalar_t* b, scalar_t* y, uint8* mask, index_t images, index_t groups,
    index_t inputs, index_t outputs, int biased, int rectify, int masked, const Window& window) {
  extern __shared__ __align__(16) uint8 bytes[];
  const Line &d = window.d, &h = window.h, &v = window.w;
  const index_t positions = images * d.out * (POOLED ? h.out / 2 * (v.out / 2) * 4 : h.out * v.out);
  const Spot spot = spot_of(positions, outputs);
  const Strides in = strides_of(groups * inputs, d.in, h.in, v.in, true);
  const Strides out = strides_of(groups * outputs, d.out, h.out, v.out, true);
  const Correlate of = {
      forward_walk(d), forward_walk(h), forward_walk(v), in, out, d.in, h.in, v.in, inputs, outputs,
      d.kernel, h.kernel, v.kernel, positions};
  const index_t taps = d.kernel * h.kernel * v.kernel, group = spot.rest;
  constexpr int shared_by = POOLED ? 1 : chunk;  // results, that have a byte of the mask
  const index_t mask_pitch = (groups * outputs + shared_by - 1) / shared_by;  // several groups fill their chunks
  const Finish finish = {
      b + group * outputs, biased != 0, rectify != 0, masked != 0, mask + group * outputs / shared_by, mask_pitch};
  correlate<PRECISE, POOLED>(
      *reinterpret_cast<Memory*>(bytes), of, spot.row0, spot.column0, x + group * inputs,
      w + group * outputs * taps * inputs, finish, y + group * outputs);
}

template <bool PRECISE>
__device__ __forceinline__ void input_grad(
    const scalar_t* dy, const scalar_t* w, const scalar_t* b, scalar_t* dx, index_t images, index_t groups,
    index_t inputs, index_t outputs, int biased, index_t period_d, index_t period_h, index_t period_w,
    const Window& window) {
  extern __shared__ __align__(16) uint8 bytes[];
  const Line &d = window.d, &h = window.h, &v = window.w;
  // Phase 0 has most positions; blocks that another phase does not need do nothing.
  const Spot spot = spot_of(images * phase_size(window, Place{0, 0, 0, 0}), inputs);
  const Place phase = place_of(spot.rest, phases(d), phases(h), phases(v));
  const index_t positions = images * phase_size(window, phase);
  if (spot.row0 >= positions) return;
  const Strides in = strides_of(groups * outputs, d.out, h.out, v.out, true);
  const Strides out = strides_of(groups * inputs, d.in, h.in, v.in, true);
  const Correlate of = {
      phase_walk(d, phase.d, period_d), phase_walk(h, phase.h, period_h), phase_walk(v, phase.w, period_w), in, out,
      d.out, h.out, v.out, outputs, inputs, d.kernel, h.kernel, v.kernel, positions};
  const index_t taps = d.kernel * h.kernel * v.kernel, group = phase.plane;
  const Finish finish = {b + group * inputs, biased != 0, false, false, nullptr, 0};
  correlate<PRECISE, false>(
      *reinterpret_cast<Memory*>(bytes), of, spot.row0, spot.column0, dy + group * outputs,
      w + group * inputs * taps * outputs, finish, dx + group * inputs);
}

// The positions of two slices of a weight gradient, one being read while the next one is written.
struct __align__(16) Gradient {
  Memory memory;
  index_t offset[2][depth];
  int d[2][depth], h[2][depth], w[2][depth];
};
static_assert(sizeof(Gradient) <= shared_bytes, "shared_bytes is too small");

// A channel's sum over a part of a slice of dy, of which the threads that are tile_m apart have one each.
__device__ __forceinline__ float channel_sum(const Stage& stage, int thread) {
  const int m = thread % tile_m;
  float sum = 0;
#pragma unroll 4
  for (int k = thread / tile_m; k < depth; k += workers / tile_m) {
    sum += to_acc(stage.a[place_in_columns<tile_m / chunk>(k, m / chunk)].of[m % chunk]);
  }
  return sum;
}

// If `biased`, the blocks of the first columns add up the channels of dy as well, from the slices that they multiply.
template <bool PRECISE>
__device__ __forceinline__ void weight_grad(
    const scalar_t* x, const scalar_t* dy, float* parts, float* bias_parts, index_t images, index_t groups,
    index_t inputs, index_t outputs, index_t share, int biased, const Window& window) {
  extern __shared__ __align__(16) uint8 bytes[];
  Gradient& shared = *reinterpret_cast<Gradient*>(bytes);
  const Line &d = window.d, &h = window.h, &v = window.w;
  const index_t columns = d.kernel * h.kernel * v.kernel * inputs, terms = images * d.out * h.out * v.out;
  const Spot spot = spot_of(outputs, columns);
  const index_t group = spot.rest % groups, part = spot.rest / groups;
  const index_t first = part * share, end = first + share < terms ? first + share : terms;
  const Strides in = strides_of(groups * inputs, d.in, h.in, v.in, true);
  const index_t channels = groups * outputs;
  x += group * inputs;
  dy += group * outputs;

  constexpr int chunks_a = tile_m / chunk, chunks_b = tile_n / chunk;
  const int thread = (int)threadIdx.x, c_a = thread % chunks_a, c_b = thread % chunks_b;
  const index_t m = spot.row0 + c_a * chunk, n = spot.column0 + c_b * chunk;
  const Place tap = place_of(n / inputs, d.kernel, h.kernel, v.kernel);
  const index_t tap_d = tap.d * d.dilation, tap_h = tap.h * h.dilation, tap_w = tap.w * v.dilation;
  const index_t along = offset_of(in, tap_d, tap_h, tap_w) + n % inputs;

  const auto find = [&](index_t slice) {  // the positions of a slice
    const index_t k = first + slice * depth + thread;
    const int to = (int)(slice % 2);
    if (thread >= depth || k >= end) return;
    const Place o = place_of(k, d.out, h.out, v.out);
    const index_t at_d = window_start(d, o.d), at_h = window_start(h, o.h), at_w = window_start(v, o.w);
    shared.d[to][thread] = (int)at_d;
    shared.h[to][thread] = (int)at_h;
    shared.w[to][thread] = (int)at_w;
    shared.offset[to][thread] = o.plane * in.n + offset_of(in, at_d, at_h, at_w);
  };
  const auto copy = [&](index_t slice) {
    Stage& stage = shared.memory.stage[slice % stages];
    const int from = (int)(slice % 2);
    const index_t k0 = first + slice * depth;
#pragma unroll
    for (int i = 0; i < depth * chunks_a / workers; ++i) {
      const int k = thread / chunks_a + i * (workers / chunks_a);
      const bool inside = k0 + k < end && m < outputs;
      copy_async<16>(&stage.a[place_in_columns<chunks_a>(k, c_a)], inside ? dy + ((k0 + k) * channels + m) : dy,
                     inside ? 16 : 0);
    }
#pragma unroll
    for (int i = 0; i < depth * chunks_b / workers; ++i) {
      const int k = thread / chunks_b + i * (workers / chunks_b);
      const bool inside = k0 + k < end && n < columns && between(shared.d[from][k] + tap_d, d.in) &&
                          between(shared.h[from][k] + tap_h, h.in) && between(shared.w[from][k] + tap_w, v.in);
      copy_async<16>(&stage.b[place_in_columns<chunks_b>(k, c_b)], inside ? x + (shared.offset[from][k] + along) : x,
                     inside ? 16 : 0);
    }
  };

  const index_t count = (end - first + depth - 1) / depth;
  Sums<PRECISE> sums = {};
  const bool adds = biased != 0 && spot.column0 == 0;
  float bias = 0;
  find(0);
#pragma unroll
  for (int s = 0; s < stages - 1; ++s) {
    __syncthreads();
    if (s < count) copy(s);
    commit_copies();
    find(s + 1);
  }
  for (index_t k = 0; k < count; ++k) {
    wait_copies<stages - 2>();
    __syncthreads();
    if (k + stages - 1 < count) copy(k + stages - 1);
    commit_copies();
    find(k + stages);
    multiply_columns(shared.memory.stage[k % stages], sums);
    if (adds) bias += channel_sum(shared.memory.stage[k % stages], thread);
  }
  __syncthreads();
  put_sums(shared.memory, sums);
  __syncthreads();
  float* dw = parts + (part * groups + group) * outputs * columns;
  for (int i = thread; i < tile_m * (tile_n / 4); i += workers) {
    const index_t row = spot.row0 + i / (tile_n / 4), column = spot.column0 + i % (tile_n / 4) * 4;
    if (row >= outputs || column >= columns) continue;
    const float* sum = &shared.memory.result[i / (tile_n / 4) * result_pitch + i % (tile_n / 4) * 4];
    *reinterpret_cast<float4*>(dw + row * columns + column) = make_float4(sum[0], sum[1], sum[2], sum[3]);
  }
  if (!adds) return;
  __syncthreads();
  shared.memory.result[thread] = bias;
  __syncthreads();
  if (thread >= tile_m || spot.row0 + thread >= outputs) return;
  for (int i = thread + tile_m; i < workers; i += tile_m) bias += shared.memory.result[i];
  bias_parts[(part * groups + group) * outputs + spot.row0 + thread] = bias;
}
