// Convolution over 1, 2 and 3 spatial dimensions and its gradients, as products of matrices that are never stored
// (include/tile.cuh, include/conv.cuh); for few channels a group without tiles.
//
// conv_forward      overwrites y. A block makes a tile of (output channels) x (positions of all images) of a group.
// conv_input_grad   overwrites dx, gathered, so that there is no atomic addition. Input positions that are the same
//                   modulo the stride (a phase) are reached by the same taps, and each phase is a product with these
//                   taps alone. A block makes a tile of (input channels) x (positions of a phase).
// conv_weight_grad  overwrites parts of dw. A block makes a tile of (output channels) x (input channels and taps),
//                   added up over `share` of the (image, position) pairs.
// conv_bias_grad    overwrites parts of db, likewise. A block makes one channel's, or 32 if they are last in memory.
// conv_sum          overwrites dw or db with the sum of its parts, in order.
// conv_forward_direct, conv_input_grad_direct  like those without _direct; a thread makes one element of the result.
// conv_weight_grad_direct                      a block makes one element of a part, or 32 with channels last.
//
// Arrays with channels are [images, channels, d, h, w] or, where `last` says so, [images, d, h, w, channels]; weights
// [groups, outputs, inputs, taps] or, with `last`, [groups, outputs, taps, inputs]; inputs and outputs are channels a
// group. Neighbouring threads read and write neighbours in memory either way, but for a direct weight gradient's x and
// dy of different order. Tiled kernels take tile_bytes of dynamic shared memory. Products and sums are in acc_t, in an
// order fixed by the shapes, and rounded once.
//
// Memory: a tile reads its rows and its columns once; tiles of the same columns follow one another, so that they find
// them in the cache. Parts are written and read once.
// Operations: a multiplication and an addition for each tap, channel and result.
// Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks for document processing", IWFHR
// 2006; Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
#include "include/conv.cuh"
#include "include/indexing.cuh"
#include "include/tile.cuh"
#include "include/types.cuh"
#include "include/window.cuh"

// The results of a tile to y (at its group's first channel), with bias (likewise) if `biased`.
__device__ __forceinline__ void store(
    const Tile<Correlation>& tile, scalar_t* y, const scalar_t* bias, bool biased, bool by_row) {
  const Product& p = tile.product;
  const int all = by_row ? tile_rows * p.columns : p.rows * tile_columns;
  for (int i = (int)threadIdx.x; i < all; i += threads) {
    const int m = by_row ? i % tile_rows : i / tile_columns, n = by_row ? i / tile_rows : i % tile_columns;
    if (m >= p.rows || n >= p.columns) continue;
    const acc_t more = biased ? to_acc(bias[p.row0 + m]) : (acc_t)0;
    y[(p.row0 + m) * tile.pass.out.c + tile.store[n]] = to_scalar(tile.result[m][n] + more);
  }
}

extern "C" __global__ void conv_forward(
    const scalar_t* __restrict__ x,  // [images, groups * inputs, in_d, in_h, in_w]
    const scalar_t* __restrict__ w,  // [groups, outputs, inputs, taps]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, groups * outputs, out_d, out_h, out_w]
    index_t images, index_t groups, index_t inputs, index_t outputs, int last, int biased, WINDOW_PARAMETERS) {
  extern __shared__ __align__(16) uint8 memory[];
  Tile<Correlation>& tile = *reinterpret_cast<Tile<Correlation>*>(memory);
  const bool by_c = last != 0;
  const index_t columns = images * out_d * out_h * out_w;
  const Corner corner = corner_of(outputs, columns);
  const index_t group = corner.rest, taps = kernel_d * kernel_h * kernel_w, terms = inputs * taps;
  const Strides in = strides_of(groups * inputs, in_d, in_h, in_w, by_c);
  const Strides out = strides_of(groups * outputs, out_d, out_h, out_w, by_c);
  if (threadIdx.x == 0) {
    const Window window = WINDOW;
    tile.pass = Correlation{
        forward_walk(window.d), forward_walk(window.h), forward_walk(window.w), in, out, inputs, by_c ? 1 : taps,
        by_c ? inputs : 1, kernel_h, kernel_w, by_c};
    tile.product = Product{
        terms, in_d, in_h, in_w, 0, terms, corner.row0, corner.column0, part_from(corner.row0, outputs, tile_rows),
        part_from(corner.column0, columns, tile_columns), true, by_c};
  }
  multiply(tile, w + group * outputs * terms, x + group * inputs * in.c);
  store(tile, y + group * outputs * out.c, b + group * outputs, biased != 0, by_c);
}

// period_d is stride_d / gcd(stride_d, dilation_d), and so on.
extern "C" __global__ void conv_input_grad(
    const scalar_t* __restrict__ dy,  // [images, groups * outputs, out_d, out_h, out_w]
    const scalar_t* __restrict__ w,   // [groups, outputs, inputs, taps]
    const scalar_t* __restrict__ b,   // [groups * inputs], added to dx if biased, else not read
    scalar_t* __restrict__ dx,        // [images, groups * inputs, in_d, in_h, in_w]
    index_t images, index_t groups, index_t inputs, index_t outputs, int last, int biased, index_t period_d,
    index_t period_h, index_t period_w, WINDOW_PARAMETERS) {
  extern __shared__ __align__(16) uint8 memory[];
  Tile<Correlation>& tile = *reinterpret_cast<Tile<Correlation>*>(memory);
  const bool by_c = last != 0;
  const Window window = WINDOW;
  // Phase 0 has most positions; blocks that another phase does not need do nothing.
  const Corner corner = corner_of(inputs, images * phase_size(window, Place{0, 0, 0, 0}));
  const Place phase = place_of(corner.rest, phases(window.d), phases(window.h), phases(window.w));
  const index_t columns = images * phase_size(window, phase);
  if (corner.column0 >= columns) return;
  const index_t group = phase.plane, taps = kernel_d * kernel_h * kernel_w;
  const Strides in = strides_of(groups * outputs, out_d, out_h, out_w, by_c);
  const Strides out = strides_of(groups * inputs, in_d, in_h, in_w, by_c);
  if (threadIdx.x == 0) {
    const Walk d = phase_walk(window.d, phase.d, period_d), h = phase_walk(window.h, phase.h, period_h);
    const Walk v = phase_walk(window.w, phase.w, period_w);
    tile.pass = Correlation{d, h, v, in, out, outputs, inputs * taps, by_c ? inputs : 1, kernel_h, kernel_w, by_c};
    tile.product = Product{
        by_c ? 1 : taps, out_d, out_h, out_w, 0, outputs * d.taps * h.taps * v.taps, corner.row0, corner.column0,
        part_from(corner.row0, inputs, tile_rows), part_from(corner.column0, columns, tile_columns), !by_c, by_c};
  }
  multiply(tile, w + group * outputs * inputs * taps, dy + group * outputs * in.c);
  store(tile, dx + group * inputs * out.c, b + group * inputs, biased != 0, by_c);
}

extern "C" __global__ void conv_weight_grad(
    const scalar_t* __restrict__ x,   // [images, groups * inputs, in_d, in_h, in_w]
    const scalar_t* __restrict__ dy,  // [images, groups * outputs, out_d, out_h, out_w]
    acc_t* __restrict__ parts,        // [parts, groups, outputs, inputs, taps] or (x_last) [..., taps, inputs]
    index_t images, index_t groups, index_t inputs, index_t outputs, int x_last, int dy_last, index_t share,
    WINDOW_PARAMETERS) {
  extern __shared__ __align__(16) uint8 memory[];
  Tile<WeightGradient>& tile = *reinterpret_cast<Tile<WeightGradient>*>(memory);
  const index_t columns = inputs * kernel_d * kernel_h * kernel_w, terms = images * out_d * out_h * out_w;
  const Corner corner = corner_of(outputs, columns);
  const index_t group = corner.rest % groups, part = corner.rest / groups;
  const Strides of_x = strides_of(groups * inputs, in_d, in_h, in_w, x_last != 0);
  const Strides of_dy = strides_of(groups * outputs, out_d, out_h, out_w, dy_last != 0);
  if (threadIdx.x == 0) {
    tile.pass = WeightGradient{WINDOW, of_x, of_dy, inputs, x_last != 0};
    tile.product = Product{
        of_dy.c, in_d, in_h, in_w, part * share, terms < (part + 1) * share ? terms : (part + 1) * share, corner.row0,
        corner.column0, part_from(corner.row0, outputs, tile_rows), part_from(corner.column0, columns, tile_columns),
        dy_last == 0, x_last == 0};
  }
  multiply(tile, dy + group * outputs * of_dy.c, x + group * inputs * of_x.c);
  const Product& p = tile.product;
  acc_t* dw = parts + (part * groups + group) * outputs * columns;
  for (int i = (int)threadIdx.x; i < p.rows * tile_columns; i += threads) {
    const int m = i / tile_columns, n = i % tile_columns;
    if (n < p.columns) dw[(p.row0 + m) * columns + tile.store[n]] = tile.result[m][n];
  }
}

// Sums over `share` of the (image, position) pairs in which a thread takes every `members`-th: a block adds up `lanes`
// channels, neighbouring threads neighbouring ones if there are several.
struct Lane {
  index_t channel, first, end;
  int member, members, lanes;
};

constexpr int sum_threads = 128;

__device__ __forceinline__ Lane lane_of(index_t channel_block, index_t part, index_t share, index_t terms, bool last) {
  const int lanes = last ? 32 : 1, thread = (int)threadIdx.x;
  const index_t end = (part + 1) * share;
  return Lane{channel_block * lanes + thread % lanes, part * share + thread / lanes, end < terms ? end : terms,
              thread / lanes, sum_threads / lanes, lanes};
}

// The sum over a lane's members, in member 0.
__device__ __forceinline__ acc_t sum_members(const Lane& lane, acc_t sum) {
  __shared__ acc_t sums[sum_threads];
  const int thread = (int)threadIdx.x;
  sums[thread] = sum;
  for (int half = lane.members / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane.member < half) sums[thread] += sums[thread + half * lane.lanes];
  }
  return sums[thread];
}

extern "C" __global__ void conv_bias_grad(
    const scalar_t* __restrict__ dy,  // [images, channels, positions] or (last) [images, positions, channels]
    acc_t* __restrict__ parts,        // [parts, channels]
    index_t images, index_t channels, index_t positions, int last, index_t share) {
  const index_t blocks = last ? (channels + 31) / 32 : channels, block = (index_t)blockIdx.x, part = block / blocks;
  const Lane lane = lane_of(block % blocks, part, share, images * positions, last != 0);
  const Strides s = strides_of(channels, 1, 1, positions, last != 0);
  acc_t sum = 0;
  if (lane.channel < channels) {
#pragma unroll 1
    for (index_t i = lane.first; i < lane.end; i += lane.members) {
      sum += to_acc(dy[i / positions * s.n + lane.channel * s.c + i % positions * s.w]);
    }
  }
  sum = sum_members(lane, sum);
  if (lane.member == 0 && lane.channel < channels) parts[part * channels + lane.channel] = sum;
}

extern "C" __global__ void conv_weight_grad_direct(
    const scalar_t* __restrict__ x,   // [images, groups * inputs, in_d, in_h, in_w]
    const scalar_t* __restrict__ dy,  // [images, groups * outputs, out_d, out_h, out_w]
    acc_t* __restrict__ parts,        // [parts, groups, outputs, inputs, taps]
    index_t images, index_t groups, index_t inputs, index_t outputs, int x_last, int dy_last, index_t share,
    WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  const index_t channels = groups * outputs, columns = inputs * kernel_d * kernel_h * kernel_w;
  const index_t blocks = dy_last ? (channels + 31) / 32 : channels, block = (index_t)blockIdx.x;
  const index_t column = block / blocks % columns, part = block / blocks / columns;
  const Lane lane = lane_of(block % blocks, part, share, images * out_d * out_h * out_w, dy_last != 0);
  const Strides of_x = strides_of(groups * inputs, in_d, in_h, in_w, x_last != 0);
  const Strides of_dy = strides_of(channels, out_d, out_h, out_w, dy_last != 0);
  const Place tap = place_of(column, kernel_d, kernel_h, kernel_w);
  const index_t channel = lane.channel / outputs * inputs + tap.plane;
  acc_t sum = 0;
  if (lane.channel < channels) {
#pragma unroll 1
    for (index_t i = lane.first; i < lane.end; i += lane.members) {
      const Place o = place_of(i, out_d, out_h, out_w);
      const index_t qd = window_start(window.d, o.d) + tap.d * dilation_d;
      const index_t qh = window_start(window.h, o.h) + tap.h * dilation_h;
      const index_t qw = window_start(window.w, o.w) + tap.w * dilation_w;
      if (!between(qd, in_d) || !between(qh, in_h) || !between(qw, in_w)) continue;
      const acc_t value = to_acc(x[o.plane * of_x.n + channel * of_x.c + offset_of(of_x, qd, qh, qw)]);
      sum += to_acc(dy[o.plane * of_dy.n + lane.channel * of_dy.c + offset_of(of_dy, o.d, o.h, o.w)]) * value;
    }
  }
  sum = sum_members(lane, sum);
  if (lane.member == 0 && lane.channel < channels) parts[(part * channels + lane.channel) * columns + column] = sum;
}

extern "C" __global__ void conv_sum(
    const acc_t* __restrict__ parts,  // [count, n], n = (rest, taps, inputs)
    scalar_t* __restrict__ total,     // [n], n = (rest, inputs, taps)
    index_t n, index_t count, index_t inputs, index_t taps) {
  for (index_t i = first_index(); i < n; i += index_stride()) {
    acc_t sum = 0;
    for (index_t part = 0; part < count; ++part) sum += parts[part * n + i];
    const index_t rest = i / (inputs * taps), tap = i / inputs % taps, input = i % inputs;
    total[(rest * inputs + input) * taps + tap] = to_scalar(sum);
  }
}

// Element i of a [images, channels, d, h, w] array or (last) [images, d, h, w, channels].
struct Element {
  index_t image, channel, d, h, w;
};

__device__ __forceinline__ Element element_of(index_t i, index_t channels, index_t d, index_t h, index_t w, bool last) {
  const Place place = place_of(last ? i / channels : i, d, h, w);
  return Element{last ? place.plane : place.plane / channels, last ? i % channels : place.plane % channels,
                 place.d, place.h, place.w};
}

extern "C" __global__ void conv_forward_direct(
    const scalar_t* __restrict__ x,  // [images, groups * inputs, in_d, in_h, in_w]
    const scalar_t* __restrict__ w,  // [groups, outputs, inputs, taps]
    const scalar_t* __restrict__ b,  // [groups * outputs], not read unless biased
    scalar_t* __restrict__ y,        // [images, groups * outputs, out_d, out_h, out_w]
    index_t n, index_t groups, index_t inputs, index_t outputs, int last, int biased, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  const index_t taps = kernel_d * kernel_h * kernel_w;
  const Strides in = strides_of(groups * inputs, in_d, in_h, in_w, last != 0);
  const index_t weight_c = last ? 1 : taps, weight_tap = last ? inputs : 1;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const Element o = element_of(i, groups * outputs, out_d, out_h, out_w, last != 0);
    const index_t start_d = window_start(window.d, o.d), start_h = window_start(window.h, o.h);
    const index_t start_w = window_start(window.w, o.w);
    const index_t end_d = end_tap(window.d, start_d), end_h = end_tap(window.h, start_h);
    const index_t end_w = end_tap(window.w, start_w);
    const index_t from = o.image * in.n + o.channel / outputs * inputs * in.c, weights = o.channel * inputs * taps;
    acc_t sum = 0;
    for (index_t td = first_tap(window.d, start_d); td < end_d; ++td) {
      for (index_t th = first_tap(window.h, start_h); th < end_h; ++th) {
        for (index_t tw = first_tap(window.w, start_w); tw < end_w; ++tw) {
          const index_t tap = weights + ((td * kernel_h + th) * kernel_w + tw) * weight_tap;
          const index_t place = from + offset_of(in, start_d + td * dilation_d, start_h + th * dilation_h,
                                                 start_w + tw * dilation_w);
#pragma unroll 1
          for (index_t c = 0; c < inputs; ++c) sum += to_acc(x[place + c * in.c]) * to_acc(w[tap + c * weight_c]);
        }
      }
    }
    y[i] = to_scalar(biased ? sum + to_acc(b[o.channel]) : sum);
  }
}

extern "C" __global__ void conv_input_grad_direct(
    const scalar_t* __restrict__ dy,  // [images, groups * outputs, out_d, out_h, out_w]
    const scalar_t* __restrict__ w,   // [groups, outputs, inputs, taps]
    const scalar_t* __restrict__ b,   // [groups * inputs], added to dx if biased, else not read
    scalar_t* __restrict__ dx,        // [images, groups * inputs, in_d, in_h, in_w]
    index_t n, index_t groups, index_t inputs, index_t outputs, int last, int biased, WINDOW_PARAMETERS) {
  const Window window = WINDOW;
  const index_t taps = kernel_d * kernel_h * kernel_w;
  const Strides in = strides_of(groups * outputs, out_d, out_h, out_w, last != 0);
  const index_t weight_c = last ? 1 : taps, weight_tap = last ? inputs : 1;
  for (index_t i = first_index(); i < n; i += index_stride()) {
    const Element q = element_of(i, groups * inputs, in_d, in_h, in_w, last != 0);
    const index_t group = q.channel / inputs;
    const index_t from = q.image * in.n + group * outputs * in.c;
    const index_t weights = group * outputs * inputs * taps + q.channel % inputs * weight_c;
    const index_t first_d = first_window(window.d, q.d), first_h = first_window(window.h, q.h);
    const index_t first_w = first_window(window.w, q.w);
    acc_t sum = 0;
    for (index_t od = last_window(window.d, q.d); od >= first_d; --od) {
      const index_t td = tap_at(window.d, od, q.d);
      if (td < 0) continue;
      for (index_t oh = last_window(window.h, q.h); oh >= first_h; --oh) {
        const index_t th = tap_at(window.h, oh, q.h);
        if (th < 0) continue;
        for (index_t ow = last_window(window.w, q.w); ow >= first_w; --ow) {
          const index_t tw = tap_at(window.w, ow, q.w);
          if (tw < 0) continue;
          const index_t tap = weights + ((td * kernel_h + th) * kernel_w + tw) * weight_tap;
          const index_t place = from + offset_of(in, od, oh, ow);
#pragma unroll 1
          for (index_t o = 0; o < outputs; ++o) {
            sum += to_acc(dy[place + o * in.c]) * to_acc(w[tap + o * inputs * taps]);
          }
        }
      }
    }
    dx[i] = to_scalar(biased ? sum + to_acc(b[q.channel]) : sum);
  }
}
