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
 * @param {object} options
 * @param {string} options.compiler g++ or clang++
 * @param {string[]} options.sources every `src/engine/native/*.cpp`
 * @param {string[]} options.includeDirs node-addon-api, node-api-headers/include, mlx/include
 * @param {string} options.mlxLibDir holds libmlx.so
 * @param {string} options.openblasLibDir holds libscipy_openblas.so
 * @param {string} options.output the `.node` file to write
 * @returns {string[]} the command and its arguments
 */
export function compileCommand({ compiler, sources, includeDirs, mlxLibDir, openblasLibDir, output }) {
  return [
    compiler,
    '-std=c++20',
    '-O3',
    '-fPIC',
    '-shared',
    '-pthread',
    '-march=native',
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
