import { InvalidArgumentError } from 'commander'

/** A number of at least `least`, as an option's value. */
export function numberFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= least))
      throw new InvalidArgumentError(`It must be ${least} or more.`)
    return value
  }
}

/** A whole number of at least `least`, as an option's value. */
export function wholeFrom(least: number): (text: string) => number {
  return (text) => {
    const value = numberFrom(least)(text)
    if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.')
    return value
  }
}
