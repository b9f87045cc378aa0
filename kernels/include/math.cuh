// pow, sqrt, exp and the like for float and double. CUDA has them built in; a host compiler has them in its library.
#pragma once
#ifndef __CUDACC__
#include <math.h>
#endif

__device__ __forceinline__ float infinity() { return __int_as_float(0x7F800000); }
