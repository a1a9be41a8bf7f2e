/**
 * Values that requests name and answers copy. The pools are disjoint by construction: numbers by their
 * remainder mod 3 (0 train, 1 heldout, 2 fresh), names by separate lists.
 */
import { between, pick, type Random } from './random.ts'
import { type SlotName, type Split, splits } from './wordings/wording.ts'

/** Words of a list written as one text. */
function words(text: string): string[] {
  return text.split(' ')
}

const cities: Record<Split, readonly string[]> = {
  train: words(
    'Lisbon Vienna Hamburg Dublin Chicago Boston Leeds Geneva Prague Oslo Denver Seattle Lyon Turin Warsaw Bristol Munich Atlanta Toronto Perth',
  ),
  heldout: words(
    'Madrid Berlin Glasgow Houston Milan Athens Portland Zurich Cardiff Dallas Helsinki Brussels',
  ),
  fresh: words('Rome Paris Oxford Phoenix Sydney Cologne Naples Austin'),
}

const brands: Record<Split, readonly string[]> = {
  train: words(
    'Nova Orion Delta Atlas Luna Titan Echo Falcon Vista Pearl Comet Sierra Arrow Breeze Summit Pilot',
  ),
  heldout: words('Apollo Eagle Harbor Beacon Zenith Ranger Coral Storm Maple Crown'),
  fresh: words('Aurora Tiger Meadow Rocket Cedar Dragon Ocean Spark'),
}

const goods: readonly string[] = words(
  'lamp blender printer radio clock kettle backpack speaker toaster desk chair heater tent camera bike fan',
)

/** Mail boxes are called `blue.river@mail.com`. */
const boxWords: Record<Split, { first: readonly string[]; second: readonly string[] }> = {
  train: {
    first: words('blue happy little quick sunny lucky early silver brave quiet golden fresh gentle simple'),
    second: words('river garden mountain coffee piano forest window bridge pepper kitchen planet button'),
  },
  heldout: {
    first: words('green purple clever warm wild royal smart busy'),
    second: words('apple guitar castle summer island pencil butter'),
  },
  fresh: {
    first: words('orange sweet proud light crazy modern'),
    second: words('flower winter rabbit cookie tower'),
  },
}

const mailHosts: readonly string[] = words('mail.com inbox.org post.net')

const months: readonly string[] = words(
  'January February March April May June July August September October November December',
)

/** What a value looks like in running text, as the source of a regular expression. */
export const slotPatterns: Readonly<Record<SlotName, string>> = {
  order: '[A-Z]-\\d{4}',
  city: '[A-Z][a-z]+(?: [A-Z][a-z]+)*',
  date: `\\d{1,2} (?:${months.join('|')})`,
  amount: '\\$\\d+\\.\\d{2}',
  email: '[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+',
  product: '[A-Z][a-z]+(?: [a-z]+)+',
}

/** A value of the split's pool. */
export function drawValue(slot: SlotName, split: Split, random: Random): string {
  switch (slot) {
    case 'order': {
      const letter = String.fromCharCode(65 + between(random, 0, 25))
      return `${letter}-${drawNumber(1000, 9999, split, random)}`
    }
    case 'amount': {
      const cents = drawNumber(500, 39_999, split, random)
      return `$${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`
    }
    case 'date':
      return `${drawNumber(1, 28, split, random)} ${pick(random, months)}`
    case 'city':
      return pick(random, cities[split])
    case 'product':
      return `${pick(random, brands[split])} ${pick(random, goods)}`
    case 'email': {
      const { first, second } = boxWords[split]
      return `${pick(random, first)}.${pick(random, second)}@${pick(random, mailHosts)}`
    }
  }
}

/** A number in [low, high] that belongs to the split. */
function drawNumber(low: number, high: number, split: Split, random: Random): number {
  const remainder = splits.indexOf(split)
  for (;;) {
    const number = between(random, low, high)
    if (number % splits.length === remainder) return number
  }
}
