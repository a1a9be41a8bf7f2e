/** How a kernel is checked: against the same in plain operations, and against differences of an f64 implementation. */
import { expect } from 'vitest'
import type { Runtime, Tensor } from '../../src/engine/index.ts'
import * as ops from '../../src/engine/tensor/ops.ts'
import { key, normal } from '../../src/engine/tensor/random.ts'
import { relativeError } from './tiny-llama.ts'

export function kernelChecks(runtime: Runtime) {
  function random(shape: number[], seed: number): Tensor {
    const drawn = normal(key(runtime, seed), shape)
    return runtime.fromFloat32(drawn.toFloat32Array(), shape)
  }

  /** Value and gradients of Σ f(inputs)·w for a fixed random w, by automatic differentiation. */
  function differentiate(f: (inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]) {
    return runtime.tidy(() => {
      const weights = random(f([...inputs]).shape, 99)
      const { loss, gradients, auxiliary } = runtime.valueAndGrad((traced) => {
        const value = f(traced)
        return { loss: ops.sum(ops.multiply(value, weights)), auxiliary: [value] }
      }, inputs)
      runtime.evaluate([loss, ...auxiliary, ...gradients])
      return {
        value: auxiliary[0]?.toFloat32Array() ?? new Float32Array(),
        gradients: gradients.map((gradient) => gradient.toFloat32Array()),
        weights: weights.toFloat32Array(),
      }
    })
  }

  /** The fused operation and its gradients against plain operations, 1e-5 relative. */
  function expectSame(
    f: (inputs: Tensor[]) => Tensor,
    plain: (inputs: Tensor[]) => Tensor,
    inputs: readonly Tensor[],
  ): void {
    const actual = differentiate(f, inputs)
    const expected = differentiate(plain, inputs)
    expect(relativeError(actual.value, expected.value)).toBeLessThan(1e-5)
    actual.gradients.forEach((gradient, index) => {
      expect(
        relativeError(gradient, expected.gradients[index] ?? new Float32Array()),
        `input ${index}`,
      ).toBeLessThan(1e-5)
    })
  }

  /** The gradients against central differences of an f64 implementation, 1e-3 relative. */
  function expectDerivative(
    f: (inputs: Tensor[]) => Tensor,
    reference: (inputs: Float64Array[]) => Float64Array,
    inputs: readonly Tensor[],
  ): void {
    const { value, gradients, weights } = differentiate(f, inputs)
    const at = inputs.map((input) => Float64Array.from(input.toFloat32Array()))
    const exact = reference(at)
    expect(relativeError(value, Float32Array.from(exact))).toBeLessThan(1e-5)
    const weighted = (): number =>
      reference(at).reduce((total, y, index) => total + y * (weights[index] ?? 0), 0)
    at.forEach((x, index) => {
      const numeric = x.map((original, element) => {
        const h = 1e-5
        x[element] = original + h
        const above = weighted()
        x[element] = original - h
        const below = weighted()
        x[element] = original
        return (above - below) / (2 * h)
      })
      expect(
        relativeError(gradients[index] ?? new Float32Array(), Float32Array.from(numeric)),
        `input ${index}`,
      ).toBeLessThan(1e-3)
    })
  }

  return { random, differentiate, expectSame, expectDerivative }
}
