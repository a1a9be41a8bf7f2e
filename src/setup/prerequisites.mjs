/**
 * The programs that must already be on the machine, and how each is found. Every look-up returns what was
 * found or undefined; `hints` holds the one sentence that says what to install.
 */
import { firstLine } from './command.mjs'
import { SetupFailure } from './failure.mjs'

/** The oldest Node that can start the set-up; everything else then runs on the pinned Node. */
export const minimumNodeMajor = 20

/** The mlx-cpu wheel is built against this glibc. */
const minimumGlibc = [2, 35]

export const hints = {
  node: `Install Node.js ${minimumNodeMajor} or newer (https://nodejs.org), then run this again.`,
  npm: 'Install npm 10 or newer (it comes with Node.js), then run this again.',
  compiler:
    'Install a C++ compiler: `apt install g++` (Debian, Ubuntu), `dnf install gcc-c++` (Fedora), `xcode-select --install` (macOS); or name yours in CXX.',
  pip: 'Install pip (`apt install python3-pip`, `python3 -m ensurepip`) or uv; it downloads the engine, no Python runs later.',
  python: 'Install python3 (or uv); it unpacks the downloaded engine, no Python runs later.',
  glibc: `Shadow's engine needs glibc ${minimumGlibc.join('.')} or newer: use Debian 12, Ubuntu 22.04, Fedora 36 or a later system.`,
  platform: 'Shadow runs on Linux (x64, arm64) and on macOS 14 or newer (arm64).',
}

/** @returns {string | undefined} npm's version */
export function findNpm() {
  return firstLine(['npm', '--version'])
}

/**
 * The C++ compiler: CXX if set, else g++, else clang++.
 * @returns {{ command: string[], version: string } | undefined}
 */
export function findCompiler() {
  const configured = (process.env['CXX'] ?? '').split(/\s+/).filter((word) => word !== '')
  const candidates = configured.length > 0 ? [configured] : [['g++'], ['clang++']]
  for (const command of candidates) {
    const version = firstLine([...command, '--version'])
    if (version !== undefined) return { command, version }
  }
  return undefined
}

/**
 * The program that downloads wheels, as the command to put before `download …`.
 * @returns {{ command: string[], version: string } | undefined}
 */
export function findPip() {
  const candidates = [
    ['pip'],
    ['pip3'],
    ['python3', '-m', 'pip'],
    ['python', '-m', 'pip'],
    ['uvx', 'pip'],
    ['uv', 'tool', 'run', 'pip'],
  ]
  for (const command of candidates) {
    const version = firstLine([...command, '--version'])
    if (version !== undefined) return { command, version }
  }
  return undefined
}

/** @returns {string[] | undefined} a command that runs Python 3 */
export function findPython() {
  const candidates = [['python3'], ['python'], ['uv', 'run', '--no-project', 'python']]
  return candidates.find((command) => firstLine([...command, '--version'])?.startsWith('Python 3'))
}

/** @returns {string | undefined} the C library's version; undefined where the libc is not glibc */
export function glibcVersion() {
  // The network part of the report resolves host names and can take seconds.
  Object.assign(process.report, { excludeNetwork: true })
  /** @type {unknown} */
  const header = JSON.parse(JSON.stringify(process.report.getReport())).header
  const found = header !== null && typeof header === 'object' && 'glibcVersionRuntime' in header
  return found && typeof header.glibcVersionRuntime === 'string' ? header.glibcVersionRuntime : undefined
}

/** @param {string | undefined} version */
export function glibcSuffices(version) {
  if (version === undefined) return false
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [needMajor = 0, needMinor = 0] = minimumGlibc
  return major > needMajor || (major === needMajor && minor >= needMinor)
}

/**
 * Fails with one sentence unless everything that the engine's set-up needs is here.
 */
export function requireEngineTools() {
  if (process.platform === 'linux' && !glibcSuffices(glibcVersion())) throw new SetupFailure(hints.glibc)
  const compiler = findCompiler()
  if (compiler === undefined) throw new SetupFailure(`No C++ compiler was found. ${hints.compiler}`)
  requirePip()
  return { compiler }
}

/** Fails with one sentence unless pip (or uv) and Python are here. */
export function requirePip() {
  const pip = findPip()
  if (pip === undefined) throw new SetupFailure(`pip was not found. ${hints.pip}`)
  const python = findPython()
  if (python === undefined) throw new SetupFailure(`Python was not found. ${hints.python}`)
  return { pip: pip.command, python }
}
