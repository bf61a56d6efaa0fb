// Enough of CUDA C++ to run kernels.cu on a processor: one block after the other, its threads as fibers that take turns
// at barriers. Compiled by emulated.py.
#include <ucontext.h>
#ifdef __SSE3__
#include <pmmintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__ static
#define __shared__ static

struct Place { int x; };
struct float4 { float x, y, z, w; };

static Place threadIdx, blockIdx, blockDim;
static std::vector<unsigned long long> dynamic_shared;

static float __int_as_float(int bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
template <typename T> static T atomicAdd(T* at, T more) { T before = *at; *at += more; return before; }

static ucontext_t scheduler;
static std::vector<ucontext_t> fibers;
static std::vector<bool> finished;
static const std::function<void()>* kernel;

static void __syncthreads() { swapcontext(&fibers[threadIdx.x], &scheduler); }

static void run_fiber() {
  const int self = threadIdx.x;
  (*kernel)();
  finished[self] = true;
  swapcontext(&fibers[self], &scheduler);
}

// CuPy compiles with -ftz=true: subnormal numbers are zeros. Where the processor can, it does the same meanwhile.
struct FlushToZero {
#ifdef __SSE3__
  const unsigned before = _mm_getcsr();
  FlushToZero() { _mm_setcsr(before | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON); }
  ~FlushToZero() { _mm_setcsr(before); }
#endif
};

static void launch(int grid, int block, size_t shared, const std::function<void()>& body) {
  const FlushToZero flush;
  const size_t stack = 1 << 16;
  static std::vector<char> stacks;
  if (stacks.size() < stack * block) stacks.resize(stack * block);
  kernel = &body;
  blockDim.x = block;
  // Filled with rubbish: a kernel must not rest on what shared memory held before.
  dynamic_shared.assign(shared / 8 + 1, 0xdeadbeefdeadbeefull);
  for (int b = 0; b < grid; ++b) {
    fibers.assign(block, {});
    finished.assign(block, false);
    for (int t = 0; t < block; ++t) {
      getcontext(&fibers[t]);
      fibers[t].uc_stack.ss_sp = stacks.data() + t * stack;
      fibers[t].uc_stack.ss_size = stack;
      makecontext(&fibers[t], run_fiber, 0);
    }
    // Threads from the last to the first: a kernel must not rest on their order between barriers.
    for (bool is_running = true; is_running;) {
      is_running = false;
      for (int t = block - 1; t >= 0; --t) {
        if (finished[t]) continue;
        threadIdx.x = t;
        blockIdx.x = b;
        swapcontext(&scheduler, &fibers[t]);
        is_running = true;
      }
    }
  }
}
