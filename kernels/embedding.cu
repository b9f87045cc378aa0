// Sums of rows by index, the gradient of a table look-up: for dy (n, columns) and index (n)
//   dw[i] = sum of dy[j] * scale[j] over all j with index[j] = i, in the order of j
//
// embedding_sum_rows  overwrites dw (rows, columns), with 0 where no position names the row. Nothing is saved.
//
// A warp takes 32 columns of one row. It reads the whole index, 32 numbers at a time, and all its lanes then visit the
// positions that name the row. So nothing is sorted, nobody adds to what others add to, and the order of a sum is that of
// the positions: the same bits every time. Half types add up in float32.
//
// Memory: reads dy once and the index rows * columns / 32 times (from a cache), writes dw.
// Operations: an addition (with scale, and a product) for each element of dy, a comparison for each number of the index that
// is read. For tables of some thousand rows; a larger one pays for reading the index.
// Source: Bengio, Ducharme, Vincent, Jauvin, "A neural probabilistic language model", JMLR 2003.
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
