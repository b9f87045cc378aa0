// One tile of a matrix product whose factors are found through tables: the main loop of the convolutions.
//
//   result[m][n] = sum over first <= k < end of A(m, k) * B(k, n)
//   A(m, k) = a[m * row_stride + depth(k).a]
//   B(k, n) = b[column(n).offset + depth(k).offset] if column(n).d + depth(k).d lies in 0 .. size_d - 1, and h and w
//             likewise, else 0
//
// A pass (include/conv.cuh) says what column(n) and depth(k) are. Columns are worked out once a block, steps of k
// `table` at a time; both are kept in shared memory, and finding an element takes additions and comparisons only.
//
// A block of `threads` threads makes tile_rows x tile_columns results, a thread height x width of them in registers.
// The next slice of `slice` steps of k is read from global memory into registers while the last one is multiplied from
// shared memory, which holds two slices, so that one barrier a slice is enough. Neighbouring threads read neighbouring
// k (a_by_k, b_by_k), else neighbouring rows or columns, whichever are neighbours in memory. Products are added up in
// acc_t in the order of k. A thread all of whose results lie outside the matrix multiplies nothing. Results go through
// shared memory, so that neighbouring threads can store neighbouring columns or neighbouring rows.
#pragma once
#include "types.cuh"

#ifndef TILE_ROWS
#define TILE_ROWS 64  // or 16: rows of a tile
#endif

// nnlab/ops/_cuda/conv.py has the same numbers of threads, columns and bytes.
constexpr int threads = 64;
constexpr int tile_rows = TILE_ROWS;
constexpr int tile_columns = (TILE_ROWS == 64 ? 256 : 512) / (int)sizeof(acc_t);
constexpr int tile_bytes = 25600;

constexpr int slice = 8, table = 64;
constexpr int width = tile_rows * tile_columns == 64 * 64 ? 8 : 4, height = tile_rows * tile_columns / threads / width;
constexpr int across = tile_columns / width;  // threads side by side
constexpr int skew = 4;                       // words between slices' rows: neighbouring k lie in different banks

// Where a column or a step of k looks for its elements of B.
struct Entry {
  index_t offset, d, h, w;
};

// Entries field by field, so that threads that read neighbouring ones have no bank conflicts.
template <int size>
struct Entries {
  index_t offset[size], d[size], h[size], w[size];
  __device__ __forceinline__ void set(int i, const Entry& entry) {
    offset[i] = entry.offset;
    d[i] = entry.d;
    h[i] = entry.h;
    w[i] = entry.w;
  }
};

struct Product {
  index_t row_stride;
  index_t size_d, size_h, size_w;
  index_t first, end;
  index_t row0, column0;  // of the tile
  int rows, columns;      // of the tile that lie inside the matrix
  bool a_by_k, b_by_k;
};

struct Slices {
  acc_t a[2][slice][tile_rows + skew];
  acc_t b[2][slice][tile_columns + skew];
};

template <class Pass>
struct __align__(16) Tile {
  union {
    Slices slices;
    acc_t result[tile_rows][tile_columns + 1];
  };
  Entries<tile_columns> column;
  Entries<2 * table> depth;  // two chunks, as in depth_a
  index_t store[tile_columns];  // where the results of a column go
  index_t depth_a[2 * table];
  Pass pass;
  Product product;
};

// The tile of this block, the rows varying fastest, and `rest` = block / tiles of the matrix.
struct Corner {
  index_t row0, column0, rest;
};

__device__ __forceinline__ Corner corner_of(index_t rows, index_t columns) {
  const index_t down = (rows + tile_rows - 1) / tile_rows, along = (columns + tile_columns - 1) / tile_columns;
  const index_t block = (index_t)blockIdx.x;
  return Corner{block % down * tile_rows, block / down % along * tile_columns, block / down / along};
}

__device__ __forceinline__ int part_from(index_t start, index_t size, int most) {
  return size - start < most ? (int)(size - start) : most;
}

// This thread's elements of a slice of `size` rows or columns: their step within the slice and their place.
template <int size>
struct Share {
  static constexpr int count = size * slice / threads;
  bool by_k;
  int k0, place0;

  __device__ __forceinline__ explicit Share(bool by_k) : by_k(by_k) {
    const int thread = (int)threadIdx.x, strip = size < threads ? size : threads;
    k0 = by_k ? thread % slice : thread / strip;
    place0 = by_k ? thread / slice : thread % strip;
  }
  __device__ __forceinline__ int k(int i) const { return k0 + (by_k ? 0 : i * threads / size); }
  __device__ __forceinline__ int place(int i) const {
    return place0 + (by_k ? i * threads / slice : i * threads % size);
  }
};

struct Staged {
  acc_t a[Share<tile_rows>::count], b[Share<tile_columns>::count];
};

__device__ __forceinline__ bool between(index_t q, index_t size) { return q >= 0 && q < size; }

// The steps of k from first + chunk * table on.
template <class Pass>
__device__ __forceinline__ void fill_depth(Tile<Pass>& tile, index_t chunk) {
  const int i = (int)threadIdx.x;
  const index_t k = tile.product.first + chunk * table + i;
  const int place = (int)(chunk & 1) * table + i;
  if (k < tile.product.end) tile.depth.set(place, tile.pass.depth(k, tile.depth_a[place]));
}

// The slice that begins `step` after first.
template <class Pass>
__device__ __forceinline__ void load(
    const Tile<Pass>& tile, const scalar_t* a, const scalar_t* b, index_t step, Staged& staged) {
  const Product& p = tile.product;
  const int steps = part_from(step, p.end - p.first, slice);
  const int start = (int)(step % (2 * table));
  const Entries<tile_columns>& to = tile.column;
  const Entries<2 * table>& by = tile.depth;
  const Share<tile_rows> of_a(p.a_by_k);
  const Share<tile_columns> of_b(p.b_by_k);
#pragma unroll
  for (int i = 0; i < of_a.count; ++i) {
    const int m = of_a.place(i), k = of_a.k(i);
    staged.a[i] = m < p.rows && k < steps ? to_acc(a[(p.row0 + m) * p.row_stride + tile.depth_a[start + k]]) : (acc_t)0;
  }
#pragma unroll
  for (int i = 0; i < of_b.count; ++i) {
    const int n = of_b.place(i), k = start + of_b.k(i);
    staged.b[i] = 0;
    if (n < p.columns && k < start + steps && between(to.d[n] + by.d[k], p.size_d) &&
        between(to.h[n] + by.h[k], p.size_h) && between(to.w[n] + by.w[k], p.size_w))
      staged.b[i] = to_acc(b[to.offset[n] + by.offset[k]]);
  }
}

template <class Pass>
__device__ __forceinline__ void keep(Tile<Pass>& tile, int buffer, const Staged& staged) {
  const Share<tile_rows> of_a(tile.product.a_by_k);
  const Share<tile_columns> of_b(tile.product.b_by_k);
#pragma unroll
  for (int i = 0; i < of_a.count; ++i) tile.slices.a[buffer][of_a.k(i)][of_a.place(i)] = staged.a[i];
#pragma unroll
  for (int i = 0; i < of_b.count; ++i) tile.slices.b[buffer][of_b.k(i)][of_b.place(i)] = staged.b[i];
}

// This thread's first row and first column. Its rows follow one another; its columns are groups of four, `across`
// groups apart, so that a warp reads 16 bytes a thread without bank conflicts.
__device__ __forceinline__ int first_row() { return (int)threadIdx.x / across * height; }
__device__ __forceinline__ int first_column() { return (int)threadIdx.x % across * 4; }
__device__ __forceinline__ int column_after(int j) { return j / 4 * (across * 4) + j % 4; }

__device__ __forceinline__ void multiply_slice(const Slices& slices, int buffer, acc_t (&sums)[height][width]) {
  const int row = first_row(), column = first_column();
#pragma unroll 2
  for (int k = 0; k < slice; ++k) {
    acc_t a[height], b[width];
#pragma unroll
    for (int i = 0; i < height; ++i) a[i] = slices.a[buffer][k][row + i];
#pragma unroll
    for (int j = 0; j < width; ++j) b[j] = slices.b[buffer][k][column + column_after(j)];
#pragma unroll
    for (int i = 0; i < height; ++i) {
#pragma unroll
      for (int j = 0; j < width; ++j) sums[i][j] += a[i] * b[j];
    }
  }
}

// From tile.pass and tile.product, which thread 0 has set, the results in tile.result and their places in tile.store.
template <class Pass>
__device__ __forceinline__ void multiply(Tile<Pass>& tile, const scalar_t* a, const scalar_t* b) {
  static_assert(sizeof(Tile<Pass>) <= tile_bytes, "tile_bytes is too small");
  __syncthreads();
  const Product& p = tile.product;
  const bool busy = first_row() < p.rows && first_column() < p.columns;
  const index_t steps = p.end - p.first;
  acc_t sums[height][width] = {};
  for (int n = (int)threadIdx.x; n < p.columns; n += threads) {
    tile.column.set(n, tile.pass.column(p.column0 + n, tile.store[n]));
  }
  fill_depth(tile, 0);
  __syncthreads();
  int buffer = 1;
  for (index_t step = -slice; step < steps; step += slice) {
    const bool more = step + slice < steps;
    Staged staged;
    if (more) load(tile, a, b, step + slice, staged);
    if (more && step % table == 0) fill_depth(tile, step / table + 1);
    if (busy && step >= 0) multiply_slice(tile.slices, buffer, sums);
    buffer ^= 1;
    if (more) keep(tile, buffer, staged);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < height; ++i) {
#pragma unroll
    for (int j = 0; j < width; ++j) tile.result[first_row() + i][first_column() + column_after(j)] = sums[i][j];
  }
  __syncthreads();
}
