/** What customers ask about goods, shops and subscriptions. */
import type { Outcome } from './wording.ts'

export const shopOutcomes: readonly Outcome[] = [
  {
    name: 'stock.check',
    slots: ['product'],
    confusedWith: 'manual.send',
    asked: {
      train: [
        'Is the {product} in stock?',
        'When will the {product} be available again?',
        'Do you still have the {product}?',
        'The {product} is sold out, when is it back?',
        'any {product} left in your warehouse?',
        "I'd like to buy the {product} but it says out of stock",
        'Can I still get the {product} somewhere?',
        'will you restock the {product} soon?',
      ],
      heldout: [
        'Your site says the {product} is out of stock, will it be back?',
        'Do you have any {product} left?',
        'When can I buy the {product} again?',
        'is the {product} still available',
      ],
      fresh: ['Will the {product} be in stock soon?', 'have you got the {product} available'],
    },
  },
  {
    name: 'warranty.claim',
    slots: ['product'],
    confusedWith: 'stock.check',
    asked: {
      train: [
        'My {product} stopped working, is it under warranty?',
        'The {product} broke after two months, I want to use the warranty.',
        'warranty claim for a {product}',
        "The {product} I bought last year won't turn on anymore",
        'Can my {product} be repaired under guarantee?',
        'My {product} is dead after a few weeks of use, what about the guarantee?',
        'I need a repair for my {product}, it has warranty',
        "The {product} doesn't work any more, please fix it",
      ],
      heldout: [
        'After three months the {product} no longer works. Warranty?',
        "Is there still a guarantee on my {product}? It won't turn on",
        "I'd like my {product} repaired, it stopped working",
        'my {product} just died, how do I claim the warranty',
      ],
      fresh: [
        'The {product} stopped working last week, please repair it',
        'does the warranty cover my dead {product}',
      ],
    },
    bare: {
      train: [
        'I have a warranty claim.',
        'Something I bought stopped working',
        'can you repair a thing under guarantee',
      ],
      heldout: ['I want to use my warranty.', "the thing I bought from you doesn't work any more"],
      fresh: ['How do I get a repair under warranty?'],
    },
  },
  {
    name: 'manual.send',
    slots: ['product'],
    confusedWith: 'warranty.claim',
    asked: {
      train: [
        'Do you have a manual for the {product}?',
        'I lost the instructions for my {product}',
        'How do I set up the {product}? There was no guide.',
        'please send me the user guide of the {product}',
        'Where can I find the {product} manual as a PDF?',
        'No instructions came with the {product}, can I get them?',
        'I need the assembly instructions for the {product}',
        'could you mail me the handbook of the {product}',
      ],
      heldout: [
        "I can't find the manual of my {product}.",
        'Can I get the user guide for a {product} as PDF?',
        'Setting up the {product} is hard, do you have instructions?',
        'send me the {product} handbook please',
      ],
      fresh: ['Is there a guide on how to use the {product}?', 'the manual for the {product} is gone'],
    },
  },
  {
    name: 'store.hours',
    slots: ['city'],
    confusedWith: 'shipping.cost',
    asked: {
      train: [
        'What are the opening hours of your {city} store?',
        'When does the shop in {city} open?',
        'Is your {city} shop open on Sunday?',
        'until when is the {city} store open today?',
        'How late can I come to the store in {city}?',
        'opening times for {city} please',
        'Does the {city} branch close at noon?',
        'I want to visit your {city} shop, when are you open?',
      ],
      heldout: [
        'At what time does the {city} store close?',
        'Is the shop in {city} open on Saturday?',
        'Could you tell me the opening times of the {city} branch?',
        'when do you open in {city} tomorrow',
      ],
      fresh: ['Which hours is the store in {city} open?', 'how long is your shop in {city} open today'],
    },
  },
  {
    name: 'subscription.pause',
    slots: ['date'],
    confusedWith: 'newsletter.stop',
    asked: {
      train: [
        'Please pause my subscription until {date}.',
        "I'm on holiday, hold my subscription until {date}",
        'Can I put the monthly box on hold until {date}?',
        'nothing from my subscription before {date} please',
        'Freeze my plan until {date}',
        "I'd like to take a break from the subscription, back on {date}",
        'skip my monthly plan till {date}',
        'Stop the subscription for now and start again on {date}',
      ],
      heldout: [
        'We are travelling, pause the monthly plan until {date}.',
        'Could you put my subscription on hold? Back on {date}',
        'Freeze the subscription till {date} please',
        'I need a break from the monthly box until {date}',
      ],
      fresh: [
        'My subscription should be paused till {date}',
        'we are away, hold the monthly box until {date}',
      ],
    },
  },
]
