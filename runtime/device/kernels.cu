// What CuPy has no fast function for. Compiled on the machine that serves, with the macros
//   DIM    dimensions of an embedding
//   CHUNK  items of one chunk of the embeddings, a multiple of TILE_ITEMS
//   HALF   where they are stored as float16; products are added up in float32
// Embeddings are [chunks, DIM, CHUNK]: neighbouring threads read neighbouring items. A bitmap holds one bit an item,
// lowest first. Scores are rounded to a step, so that equal items tie whatever adds them up.

#define GROUP 32
#define TILE_ITEMS 256
#define TILE_USERS 32
#define SLAB 8  // dimensions of a tile that are in shared memory together; DIM is a multiple
#define ROW_PAIRS 32
#define COPIES 8  // of a histogram: most values fall into few buckets, and threads that add to one wait for each other
#define SPAN 64  // dimensions of a row of a table that are in shared memory together
#define NOTHING (-__int_as_float(0x7f800000))

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef unsigned long long uint64;
typedef long long int64;

#ifdef HALF
typedef uint16 ITEM;
// Of a finite value: the exponents of the two formats lie 112 apart. No number on the way is subnormal as a float: CuPy
// compiles with -ftz=true, which makes those zeros.
__device__ float real(ITEM bits) {
  const uint32 size = bits & 0x7fffu;
  const float value = size < 0x400u ? (float)size * 5.9604644775390625e-8f : __uint_as_float((size << 13) + 0x38000000u);
  return bits & 0x8000u ? -value : value;
}
#else
typedef float ITEM;
__device__ float real(ITEM value) { return value; }
#endif

__device__ float rounded(float score, float step) { return rintf(score * (1.0f / step)) * step; }

__device__ bool holds(const uint8* bitmap, int64 row) { return bitmap[row >> 3] >> (row & 7) & 1; }

// Whether `row` is among rows[start:stop], ascending.
__device__ bool among(const int* rows, int64 start, int64 stop, int row) {
  while (start < stop) {
    const int64 middle = (start + stop) / 2;
    if (rows[middle] < row) start = middle + 1;
    else stop = middle;
  }
  return rows[start] == row;
}

// One item and one query; always added up in the same order, so that a score depends on nothing else.
__device__ float product(const float* query, const ITEM* embeddings, int64 row) {
  const ITEM* item = embeddings + row / CHUNK * DIM * CHUNK + row % CHUNK;
  float sum = 0.0f;
  for (int d = 0; d < DIM; ++d) sum = fmaf(query[d], real(item[(int64)d * CHUNK]), sum);
  return sum;
}

// The score of an item as a user sees it; NOTHING where it must not be shown.
__device__ float seen_score(const float* queries, const ITEM* embeddings, int user, int64 row, const uint8* bitmap,
                            const int64* starts, const int* blocked, float step) {
  const int64 start = starts[user], stop = starts[user + 1];
  if (!holds(bitmap, row)) return NOTHING;
  if (start < stop && row <= blocked[stop - 1] && among(blocked, start, stop, row)) return NOTHING;
  return rounded(product(queries + (int64)user * DIM, embeddings, row), step);
}

// scores [B, num_items] of the items from `first` on -> out[b, first / GROUP + g], the best score of each group.
extern "C" __global__ void group_maxima(const float* scores, const uint8* bitmap, int num_items, int64 first,
                                        float step, int num_users, int64 num_groups, float* out) {
  const int groups = num_items / GROUP;
  const int64 place = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  const int user = place / groups, group = place % groups;
  if (user >= num_users) return;
  const float4* values = (const float4*)(scores + (int64)user * num_items + group * GROUP);
  const uint32 bits = ((const uint32*)bitmap)[first / GROUP + group];
  float best = NOTHING;
  for (int quad = 0; quad < GROUP / 4; ++quad) {
    const float4 four = values[quad];
    const uint32 held = bits >> (4 * quad);
    if (held & 1) best = fmaxf(best, four.x);
    if (held & 2) best = fmaxf(best, four.y);
    if (held & 4) best = fmaxf(best, four.z);
    if (held & 8) best = fmaxf(best, four.w);
  }
  out[user * num_groups + first / GROUP + group] = best == NOTHING ? best : rounded(best, step);
}

// The same from the queries of up to TILE_USERS users, without writing the scores: one block a tile of items, 128 threads.
// A thread adds up 8 items x 8 users; the users of a warp are the same.
extern "C" __global__ void tile_maxima(const float* queries, const ITEM* embeddings, const uint8* bitmap, float step,
                                       int num_users, int64 num_groups, float* out) {
  __shared__ float of_users[SLAB][TILE_USERS], of_items[SLAB][TILE_ITEMS];
  __shared__ float quads[TILE_USERS][TILE_ITEMS / 4 + 1];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64 first = (int64)blockIdx.x * TILE_ITEMS;
  const ITEM* tile = embeddings + first / CHUNK * DIM * CHUNK + first % CHUNK;
  float sums[8][8] = {};
  for (int slab = 0; slab < DIM; slab += SLAB) {
    __syncthreads();
    for (int place = thread; place < SLAB * TILE_USERS; place += blockDim.x) {
      const int user = place / SLAB, d = place % SLAB;
      of_users[d][user] = user < num_users ? queries[user * DIM + slab + d] : 0.0f;
    }
    for (int place = thread; place < SLAB * TILE_ITEMS; place += blockDim.x)
      of_items[place / TILE_ITEMS][place % TILE_ITEMS] =
          real(tile[(int64)(slab + place / TILE_ITEMS) * CHUNK + place % TILE_ITEMS]);
    __syncthreads();
    for (int d = 0; d < SLAB; ++d) {
      float items[8], users[8];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        items[i] = of_items[d][4 * lane + i];
        items[4 + i] = of_items[d][TILE_ITEMS / 2 + 4 * lane + i];
      }
#pragma unroll
      for (int u = 0; u < 8; ++u) users[u] = of_users[d][8 * warp + u];
#pragma unroll
      for (int u = 0; u < 8; ++u)
#pragma unroll
        for (int i = 0; i < 8; ++i) sums[u][i] = fmaf(users[u], items[i], sums[u][i]);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64 row = first + half * (TILE_ITEMS / 2) + 4 * lane;
    const uint32 held = bitmap[row >> 3] >> (row & 7);
#pragma unroll
    for (int u = 0; u < 8; ++u) {
      float best = NOTHING;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (held >> i & 1) best = fmaxf(best, sums[u][4 * half + i]);
      quads[8 * warp + u][half * TILE_ITEMS / 8 + lane] = best;
    }
  }
  __syncthreads();
  const int groups = TILE_ITEMS / GROUP;
  for (int place = thread; place < num_users * groups; place += blockDim.x) {
    const int user = place / groups, group = place % groups;
    float best = NOTHING;
    for (int quad = 0; quad < GROUP / 4; ++quad) best = fmaxf(best, quads[user][group * (GROUP / 4) + quad]);
    out[user * num_groups + first / GROUP + group] = best == NOTHING ? best : rounded(best, step);
  }
}

// The best scores of groups of which a user must not see some item, again without it: one block of GROUP threads each.
extern "C" __global__ void refreshed_maxima(const float* queries, const ITEM* embeddings, const int* users,
                                            const int* groups, const uint8* bitmap, const int64* starts,
                                            const int* blocked, float step, int64 num_groups, float* out) {
  __shared__ float scores[GROUP];
  const int user = users[blockIdx.x], group = groups[blockIdx.x];
  scores[threadIdx.x] = seen_score(queries, embeddings, user, (int64)group * GROUP + threadIdx.x, bitmap, starts,
                                   blocked, step);
  __syncthreads();
  if (threadIdx.x) return;
  float best = NOTHING;
  for (int item = 0; item < GROUP; ++item) best = fmaxf(best, scores[item]);
  out[user * num_groups + group] = best;
}

// The rows and the scores of every item of some groups, out [B, num_groups * GROUP]; NOTHING where a user must not see
// the item.
extern "C" __global__ void group_scores(const float* queries, const ITEM* embeddings, const int* groups,
                                        const uint8* bitmap, const int64* starts, const int* blocked,
                                        int num_groups, int num_users, float step, int* rows, float* out) {
  const int64 place = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  const int64 width = (int64)num_groups * GROUP;
  if (place >= num_users * width) return;
  const int user = place / width, group = groups[place / GROUP];
  const int64 row = (int64)group * GROUP + place % GROUP;
  rows[place] = group < 0 ? -1 : (int)row;
  out[place] =
      group < 0 ? NOTHING : seen_score(queries, embeddings, user, row, bitmap, starts, blocked, step);
}

// What is at some places of each user's rows and scores [B, width]; -1 and NOTHING where a place is negative.
extern "C" __global__ void pick(const int* places, const int* rows, const float* scores, int num_users, int count,
                                int width, int* out_rows, float* out_scores) {
  const int64 at = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= (int64)num_users * count) return;
  const int place = places[at];
  const int64 from = at / count * width + place;
  out_rows[at] = place < 0 ? -1 : rows[from];
  out_scores[at] = place < 0 ? NOTHING : scores[from];
}

// The scores of pairs of a user of the batch and an item.
extern "C" __global__ void pair_scores(const float* queries, const ITEM* embeddings, const int* users, const int* rows,
                                       int64 num_pairs, float step, float* out) {
  const int64 place = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= num_pairs) return;
  out[place] = rounded(product(queries + (int64)users[place] * DIM, embeddings, rows[place]), step);
}

// The same from a table [N, DIM] of float32 that may be the host's memory: a block of ROW_PAIRS pairs reads it in order,
// then a thread a pair adds up as `product` does, so that the scores are those of float32 embeddings.
extern "C" __global__ void row_scores(const float* queries, const float* table, const int* users, const int* rows,
                                      int64 num_pairs, float step, float* out) {
  __shared__ float part[ROW_PAIRS][SPAN + 1];
  const int64 first = (int64)blockIdx.x * ROW_PAIRS;
  const int thread = threadIdx.x;
  const bool adds = thread < ROW_PAIRS && first + thread < num_pairs;
  float sum = 0.0f;
  for (int start = 0; start < DIM; start += SPAN) {
    const int span = DIM - start < SPAN ? DIM - start : SPAN;
    __syncthreads();
    for (int place = thread; place < ROW_PAIRS * span; place += blockDim.x) {
      const int pair = place / span, d = place % span;
      if (first + pair < num_pairs) part[pair][d] = table[(int64)rows[first + pair] * DIM + start + d];
    }
    __syncthreads();
    if (!adds) continue;
    const float* query = queries + (int64)users[first + thread] * DIM + start;
    for (int d = 0; d < span; ++d) sum = fmaf(query[d], part[thread][d], sum);
  }
  if (adds) out[first + thread] = rounded(sum, step);
}

// Sums of values[starts[s]:starts[s + 1]], each from left to right: the same values give the same sum.
extern "C" __global__ void segment_sums(const double* values, const int64* starts, int64 num_segments,
                                        int64 num_values, float* out) {
  const int64 segment = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (segment >= num_segments) return;
  const int64 stop = segment + 1 < num_segments ? starts[segment + 1] : num_values;
  double sum = 0.0;
  for (int64 place = starts[segment]; place < stop; ++place) sum += values[place];
  out[segment] = (float)sum;
}

// Descending by value, then ascending by tie: the larger key comes first.
__device__ uint64 key_of(float value, uint32 tie) {
  const uint32 bits = __float_as_uint(value + 0.0f);  // 0 and -0 are one value
  const uint32 ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (uint64)ordered << 32 | (0xffffffffu - tie);
}

// The places of the `count` best of a user's values, best first; -1 where there are fewer above NOTHING. One block a
// user: eight bits of the key at a time are counted until the last of the best is told from the others.
extern "C" __global__ void select_best(const float* values, const int* ties, int width, int count, int padded,
                                       int* out) {
  extern __shared__ uint64 chosen[];
  __shared__ uint32 counts[256 * COPIES];
  __shared__ uint64 prefix, mask;
  __shared__ int wanted, num_chosen, is_done;
  const int64 start = (int64)blockIdx.x * width;
  const int thread = threadIdx.x, threads = blockDim.x;
  if (thread == 0) { prefix = mask = 0; wanted = count; num_chosen = is_done = 0; }
  for (int place = thread; place < padded; place += threads) chosen[place] = 0;
  __syncthreads();
  for (int shift = 56; shift >= 0 && !is_done; shift -= 8) {
    for (int at = thread; at < 256 * COPIES; at += threads) counts[at] = 0;
    __syncthreads();
    for (int place = thread; place < width; place += threads) {
      if (values[start + place] == NOTHING) continue;
      const uint64 key = key_of(values[start + place], ties ? ties[start + place] : place);
      if ((key & mask) == prefix) atomicAdd(&counts[(key >> shift & 255) * COPIES + thread % COPIES], 1u);
    }
    __syncthreads();
    for (int bucket = thread; bucket < 256; bucket += threads)
      for (int copy = 1; copy < COPIES; ++copy) counts[bucket * COPIES] += counts[bucket * COPIES + copy];
    __syncthreads();
    if (thread == 0) {
      int bucket = 255;
      while (bucket > 0 && (int)counts[bucket * COPIES] < wanted) wanted -= counts[bucket-- * COPIES];
      prefix |= (uint64)bucket << shift;
      mask |= (uint64)255 << shift;
      is_done = (int)counts[bucket * COPIES] <= wanted;
    }
    __syncthreads();
  }
  for (int place = thread; place < width; place += threads) {
    if (values[start + place] == NOTHING) continue;
    const uint64 key = key_of(values[start + place], ties ? ties[start + place] : place);
    if ((key & mask) < prefix) continue;
    const int at = atomicAdd(&num_chosen, 1);
    if (at >= padded) break;  // only where two ties are equal
    chosen[at] = key;
    chosen[padded + at] = place;
  }
  __syncthreads();
  for (int size = 2; size <= padded; size *= 2) {
    for (int reach = size / 2; reach > 0; reach /= 2) {
      for (int place = thread; place < padded; place += threads) {
        const int other = place ^ reach;
        const bool descends = !(place & size);
        if (other > place && (chosen[place] < chosen[other]) == descends) {
          const uint64 key = chosen[place], of = chosen[padded + place];
          chosen[place] = chosen[other];
          chosen[padded + place] = chosen[padded + other];
          chosen[other] = key;
          chosen[padded + other] = of;
        }
      }
      __syncthreads();
    }
  }
  for (int place = thread; place < count; place += threads)
    out[(int64)blockIdx.x * count + place] = place < num_chosen ? (int)chosen[padded + place] : -1;
}
