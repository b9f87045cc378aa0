// Sums of rows by index, the gradient of a table look-up: for dy (n, columns) and index (n)
//   dw[i] = sum of dy[j] * scale[j] over all j with index[j] = i, in the order of j
//
// embedding_sum_rows    overwrites dw (rows, columns), with 0 where no position names the row.
// embedding_sum_sorted  the same by positions in the order of their rows; rows that none names are left alone. Nothing is
//                       saved.
//
// In embedding_sum_rows a warp takes 32 columns of one row. It reads the whole index, 32 numbers at a time, and all its lanes
// then visit the positions that name the row. In embedding_sum_sorted a thread takes a column of a position, and the first
// of those that name a row adds up all. Nobody adds to what others add to, and the order of a sum is that of the positions:
// the same bits every time, by both kernels. Half types add up in float32.
//
// Memory: reads dy once, the index rows * columns / 32 times (from a cache) or, sorted, three times for each 32 columns, and
// writes dw.
// Operations: an addition (with scale, and a product) for each element of dy, a comparison for each number of the index that
// is read.
// Source: Bengio, Ducharme, Vincent, Jauvin, "A neural probabilistic language model", JMLR 2003.
#include "include/indexing.cuh"
#include "include/team.cuh"
#include "include/types.cuh"

extern "C" __global__ void embedding_sum_rows(
    const scalar_t* __restrict__ dy,   // [n, columns]
    const int64* __restrict__ index,   // [n]
    const acc_t* __restrict__ scale,   // [n] if scaled, else not read
    scalar_t* __restrict__ dw,         // [rows, columns]
    index_t n, index_t columns, index_t lines, index_t groups, int scaled) {  // lines = rows * groups of 32 columns
  for (index_t line = first_line(); line < lines; line += line_stride()) {
    const index_t row = line / groups, column = (line - row * groups) * TEAM + member();
    acc_t sum = 0;
    for (index_t first = 0; first < n; first += TEAM) {
      const index_t mine = first + member();
      uint32 named = __ballot_sync(0xFFFFFFFFu, mine < n && index[mine] == (int64)row);
      for (; named != 0; named &= named - 1) {
        const index_t j = first + (index_t)(__ffs((int)named) - 1);
        if (column < columns) {
          const acc_t value = to_acc(dy[j * columns + column]);
          sum += scaled ? value * scale[j] : value;
        }
      }
    }
    if (column < columns) dw[row * columns + column] = to_scalar(sum);
  }
}

extern "C" __global__ void embedding_sum_sorted(
    const scalar_t* __restrict__ dy,  // [n, columns]
    const int64* __restrict__ order,  // [n]: positions by row, those of a row in their order
    const int64* __restrict__ index,  // [n]: their rows
    const acc_t* __restrict__ scale,  // [n] if scaled, else not read
    scalar_t* __restrict__ dw,        // [rows, columns]
    index_t n, index_t columns, int scaled) {
  for (index_t i = first_index(); i < n * columns; i += index_stride()) {
    const index_t first = i / columns, column = i - first * columns;
    const int64 row = index[first];
    if (first > 0 && index[first - 1] == row) continue;
    acc_t sum = 0;
    for (index_t k = first; k < n && index[k] == row; ++k) {
      const index_t j = (index_t)order[k];
      const acc_t value = to_acc(dy[j * columns + column]);
      sum += scaled ? value * scale[j] : value;
    }
    dw[(index_t)row * columns + column] = to_scalar(sum);
  }
}
