/** Typed access to the metadata of a GGUF file, with errors that name the key. */
import type { FileWindow } from './file-window.ts'
import type { GgufValue } from './gguf-file.ts'

interface FieldTypes {
  string: string
  number: number
  boolean: boolean
}

export class GgufFields {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly #file: FileWindow

  constructor(file: FileWindow, metadata: ReadonlyMap<string, GgufValue>) {
    this.#file = file
    this.metadata = metadata
  }

  optional<T extends keyof FieldTypes>(key: string, type: T): FieldTypes[T] | undefined {
    const value = this.metadata.get(key)
    if (value === undefined) return undefined
    if (isOfType(value, type)) return value
    throw this.#file.invalid(`metadata ${key}`, `is not a ${type}`)
  }

  required<T extends keyof FieldTypes>(key: string, type: T): FieldTypes[T] {
    const value = this.optional(key, type)
    if (value === undefined) throw this.#file.invalid(`metadata ${key}`, 'is missing')
    return value
  }

  /** A whole number above 0. */
  size(key: string): number {
    return this.#positive(key, this.required(key, 'number'))
  }

  sizeOr(key: string, fallback: number): number {
    const value = this.optional(key, 'number')
    return value === undefined ? fallback : this.#positive(key, value)
  }

  tokenId(key: string, vocabulary: number): number | undefined {
    const id = this.optional(key, 'number')
    if (id !== undefined && id >= vocabulary)
      throw this.#file.invalid(`metadata ${key}`, `token ${id} is not one of ${vocabulary}`)
    return id
  }

  strings(key: string): string[] {
    const value = this.metadata.get(key)
    if (!Array.isArray(value)) throw this.#file.invalid(`metadata ${key}`, 'is not an array of strings')
    return value
  }

  #positive(key: string, value: number): number {
    if (!Number.isInteger(value) || value < 1)
      throw this.#file.invalid(`metadata ${key}`, `${value} is not a positive whole number`)
    return value
  }
}

function isOfType<T extends keyof FieldTypes>(value: GgufValue, type: T): value is FieldTypes[T] & GgufValue {
  return typeof value === type
}
