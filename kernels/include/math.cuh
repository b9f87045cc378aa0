// pow, sqrt and the like for float and double. CUDA has them built in; a host compiler has them in its library.
#pragma once
#ifndef __CUDACC__
#include <math.h>
#endif
