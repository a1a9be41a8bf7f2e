// Sixteen lanes made of what the processor has: one AVX-512 register, two of AVX, four of SSE or NEON. A vector
// wider than a register would live in memory (GCC keeps such values there), so it is a pair of halves instead.
// Operations are those of the compiler's vector extensions, lane by lane, so they round alike on every machine.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace shadow {

constexpr int kLanes = 16;

typedef float floats4 __attribute__((vector_size(16)));
typedef float floats8 __attribute__((vector_size(32)));
typedef float floats16 __attribute__((vector_size(64)));
typedef int32_t ints4 __attribute__((vector_size(16)));
typedef int32_t ints8 __attribute__((vector_size(32)));
typedef int32_t ints16 __attribute__((vector_size(64)));

template <class Half>
struct Pair {
  Half low, high;
};

// `native`: one register. kVectors: how many vectors the registers hold. SHADOW_WIDE_LANES is for tests: the code of
// wide registers, lane by lane, on a processor that has none.
#if defined(__AVX512F__) || defined(SHADOW_WIDE_LANES)
typedef floats16 native;
typedef ints16 native_ints;
typedef floats16 vec;
typedef ints16 ivec;
constexpr int kVectors = 32;
#elif defined(__AVX2__)
typedef floats8 native;
typedef ints8 native_ints;
typedef Pair<floats8> vec;
typedef Pair<ints8> ivec;
constexpr int kVectors = 8;
#else
typedef floats4 native;
typedef ints4 native_ints;
typedef Pair<Pair<floats4>> vec;
typedef Pair<Pair<ints4>> ivec;
#if defined(__aarch64__)
constexpr int kVectors = 8;
#else
constexpr int kVectors = 4;
#endif
#endif

constexpr int kNativeLanes = sizeof(native) / sizeof(float), kParts = kLanes / kNativeLanes;

/** A vector of its registers. */
inline floats16 join(const floats16* parts) { return parts[0]; }
inline Pair<floats8> join(const floats8* parts) { return {parts[0], parts[1]}; }
inline Pair<Pair<floats4>> join(const floats4* parts) { return {{parts[0], parts[1]}, {parts[2], parts[3]}}; }

/** The registers of a vector. */
inline void split(floats16 v, floats16* parts) { parts[0] = v; }
inline void split(Pair<floats8> v, floats8* parts) { parts[0] = v.low, parts[1] = v.high; }
inline void split(Pair<Pair<floats4>> v, floats4* parts) {
  parts[0] = v.low.low, parts[1] = v.low.high, parts[2] = v.high.low, parts[3] = v.high.high;
}

#define SHADOW_LANEWISE(op)                                                      \
  template <class A, class B>                                                    \
  inline auto operator op(Pair<A> a, Pair<B> b) {                                \
    return Pair<decltype(a.low op b.low)>{a.low op b.low, a.high op b.high};     \
  }                                                                              \
  template <class T, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>> \
  inline auto operator op(Pair<T> a, S b) {                                      \
    return Pair<decltype(a.low op b)>{a.low op b, a.high op b};                  \
  }                                                                              \
  template <class T, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>> \
  inline auto operator op(S a, Pair<T> b) {                                      \
    return Pair<decltype(a op b.low)>{a op b.low, a op b.high};                  \
  }
SHADOW_LANEWISE(+)
SHADOW_LANEWISE(-)
SHADOW_LANEWISE(*)
SHADOW_LANEWISE(/)
SHADOW_LANEWISE(&)
SHADOW_LANEWISE(|)
SHADOW_LANEWISE(<<)
SHADOW_LANEWISE(>>)
SHADOW_LANEWISE(<)
SHADOW_LANEWISE(>)
#undef SHADOW_LANEWISE

template <class T>
inline Pair<T> operator-(Pair<T> a) {
  return {-a.low, -a.high};
}
template <class T, class U>
inline Pair<T>& operator+=(Pair<T>& a, U b) {
  return a = a + b;
}
template <class T, class U>
inline Pair<T>& operator*=(Pair<T>& a, U b) {
  return a = a * b;
}

/** a where the mask's lane is all ones, b where it is zero. */
template <class M, class T>
inline T select(M mask, T a, T b) {
  return mask ? a : b;
}
template <class M, class T>
inline Pair<T> select(Pair<M> mask, Pair<T> a, Pair<T> b) {
  return {select(mask.low, a.low, b.low), select(mask.high, a.high, b.high)};
}

/** The same bits as another type. */
template <class To, class From>
inline To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline floats4 to_float(ints4 x) { return __builtin_convertvector(x, floats4); }
inline floats8 to_float(ints8 x) { return __builtin_convertvector(x, floats8); }
inline floats16 to_float(ints16 x) { return __builtin_convertvector(x, floats16); }
template <class T>
inline auto to_float(Pair<T> x) {
  return Pair<decltype(to_float(x.low))>{to_float(x.low), to_float(x.high)};
}

/** Towards zero. */
inline ints4 to_int(floats4 x) { return __builtin_convertvector(x, ints4); }
inline ints8 to_int(floats8 x) { return __builtin_convertvector(x, ints8); }
inline ints16 to_int(floats16 x) { return __builtin_convertvector(x, ints16); }
template <class T>
inline auto to_int(Pair<T> x) {
  return Pair<decltype(to_int(x.low))>{to_int(x.low), to_int(x.high)};
}

/** The first and the second half of the lanes. */
inline floats8 low_half(floats16 v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
inline floats8 high_half(floats16 v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }
inline floats4 low_half(floats8 v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
inline floats4 high_half(floats8 v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
template <class T>
inline T low_half(Pair<T> v) {
  return v.low;
}
template <class T>
inline T high_half(Pair<T> v) {
  return v.high;
}

/** v, in a register for good: compilers like to read it from memory again for each use, which then bounds the loop. */
inline native pinned(native v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__) && !defined(SHADOW_WIDE_LANES)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

}  // namespace shadow
