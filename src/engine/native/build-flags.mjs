/**
 * How the addon is compiled and linked: one compiler call, no build system.
 *
 * Link order is part of the design. libmlx imports `cblas_sgemm` and its siblings; the addon defines
 * them (blas.cpp) and forwards to scipy's OpenBLAS, whose own names carry the prefix `scipy_`. Because
 * the addon is the first library of the scope that `dlopen` searches, its definitions win over the
 * reference BLAS that lies beside libmlx.
 */

/** The Node-API version the sources are written for. */
export const nodeApiVersion = 9

/**
 * What the kernels may be compiled for, by name: the compiler's flags, and the processor's flags (as /proc/cpuinfo
 * names them) without which the addon would crash. `native` is all that this machine has; `wide` runs the code that is
 * written for registers of 64 bytes where there are none.
 * @type {Record<string, { flags: string[], needs: string[] }>}
 */
export const instructionSets = {
  native: { flags: ['-march=native'], needs: [] },
  'avx512-bf16': { flags: ['-march=x86-64-v4'], needs: ['avx512f', 'avx512bw', 'avx512vl', 'avx512_bf16'] },
  avx512: { flags: ['-march=x86-64-v4', '-DSHADOW_NO_BF16'], needs: ['avx512f', 'avx512bw', 'avx512vl'] },
  avx2: { flags: ['-march=x86-64-v3', '-DSHADOW_NO_BF16'], needs: ['avx2', 'fma', 'f16c', 'bmi2'] },
  portable: { flags: ['-DSHADOW_NO_BF16'], needs: [] },
  wide: { flags: ['-DSHADOW_NO_BF16', '-DSHADOW_WIDE_LANES'], needs: [] },
}

/**
 * @param {object} options
 * @param {string} options.compiler g++ or clang++
 * @param {string[]} options.sources every `src/engine/native/*.cpp`
 * @param {string[]} options.includeDirs node-addon-api, node-api-headers/include, mlx/include
 * @param {string} options.mlxLibDir holds libmlx.so
 * @param {string} options.openblasLibDir holds libscipy_openblas.so
 * @param {string} options.output the `.node` file to write
 * @param {string[]} options.instructions the flags of one of `instructionSets`
 * @returns {string[]} the command and its arguments
 */
export function compileCommand({
  compiler,
  sources,
  includeDirs,
  mlxLibDir,
  openblasLibDir,
  output,
  instructions,
}) {
  return [
    compiler,
    '-std=c++20',
    '-O3',
    '-fPIC',
    '-shared',
    '-pthread',
    ...instructions,
    '-fno-math-errno',
    '-fvisibility=hidden',
    '-Wno-psabi',
    `-DNAPI_VERSION=${nodeApiVersion}`,
    '-DNODE_ADDON_API_CPP_EXCEPTIONS',
    ...includeDirs.map((directory) => `-I${directory}`),
    ...sources,
    '-o',
    output,
    `-L${openblasLibDir}`,
    `-L${mlxLibDir}`,
    '-lscipy_openblas',
    '-lmlx',
    `-Wl,-rpath,${openblasLibDir}`,
    `-Wl,-rpath,${mlxLibDir}`,
    '-Wl,--allow-shlib-undefined',
  ]
}
