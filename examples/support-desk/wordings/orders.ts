/** What customers want done with an order. */
import type { Outcome } from './wording.ts'

export const orderOutcomes: readonly Outcome[] = [
  {
    name: 'order.track',
    slots: ['order'],
    confusedWith: 'refund.status',
    asked: {
      train: [
        'Where is my order {order}?',
        'Can you tell me where parcel {order} is right now?',
        "I'm still waiting for {order}, has it shipped yet?",
        'tracking for {order} please',
        "My package {order} hasn't arrived, where is it?",
        'Could you track order {order} for me?',
        'any news on the delivery of {order}?',
        '{order} was supposed to be here by now. Where is it?',
      ],
      heldout: [
        "Has order {order} left your warehouse? I'd like to track it.",
        "I can't find any tracking for my package {order}.",
        'Do you know where {order} is? Still not here.',
        'Still no sign of parcel {order}, where did it go?',
      ],
      fresh: ['Is {order} on its way? I want to track the parcel.', 'where exactly is package {order} now'],
    },
    bare: {
      train: ['Where is my parcel?', "My order hasn't come yet.", 'can you track a package for me'],
      heldout: ["I'm still waiting for my package", "Where's the order I placed?"],
      fresh: ['I would like to know where my order is'],
    },
    carried: {
      train: [
        'And where is it right now?',
        'has it been shipped already?',
        'can you also track it?',
        'By the way, where is that parcel?',
      ],
      heldout: ['Where is it at the moment?', 'could you track that one too'],
      fresh: ['and where has it got to?'],
    },
  },
  {
    name: 'order.cancel',
    slots: ['order'],
    confusedWith: 'order.return',
    asked: {
      train: [
        'Please cancel order {order}.',
        "I want to cancel {order}, I don't need it anymore.",
        'can you stop {order} before it ships? I changed my mind',
        'Cancel my purchase {order} right away',
        'I ordered by accident, please call off {order}.',
        "I'd like a cancellation of order {order}",
        '{order} needs to be cancelled, bought it twice',
        'Is it too late to cancel {order}?',
      ],
      heldout: [
        'I no longer want {order}, cancel it for me.',
        'Changed my mind about {order}. Cancellation please!',
        'Could somebody cancel the purchase {order}? It was an accident.',
        "Don't ship {order}, I want it cancelled",
      ],
      fresh: ['Can I still cancel my order {order}?', 'I bought {order} by mistake, it should be cancelled'],
    },
    bare: {
      train: ['I want to cancel my order.', 'Please cancel what I ordered yesterday', 'cancel my order asap'],
      heldout: ['Could you cancel an order of mine?', 'I need an order cancelled'],
      fresh: ["There's an order I'd like to cancel"],
    },
    carried: {
      train: [
        'Then please cancel it.',
        'forget it, cancel that order',
        'OK, I want to cancel it instead',
        'You know what, just cancel it',
      ],
      heldout: ['In that case cancel the order.', "then I'd like it cancelled"],
      fresh: ['hm, better cancel that one'],
    },
  },
  {
    name: 'order.return',
    slots: ['order'],
    confusedWith: 'order.exchange',
    asked: {
      train: [
        'I want to return order {order}.',
        'How do I send {order} back?',
        "{order} isn't for me, I would like to return it",
        'Need a return label for {order}',
        'Not happy with {order}, can I give it back?',
        'Please start a return for {order}.',
        "I'm sending back {order}, what do I do?",
        "I don't like what I got in {order}, I'd like to send it back",
      ],
      heldout: [
        'Could I get a label to send back {order}?',
        "{order} is not what I hoped for, I'm returning it.",
        "I don't like it. How can I return {order}?",
        'I wish to give {order} back, please start the return',
      ],
      fresh: [
        "I'd like to return everything in {order}",
        'what must I do to send order {order} back to you?',
      ],
    },
    bare: {
      train: ["I'd like to return something.", 'How do I send an order back?', 'I need a return label'],
      heldout: ['Can I send back what I bought?', 'I want to start a return'],
      fresh: ['I have something to return'],
    },
    carried: {
      train: [
        "Then I'd like to send it back.",
        'can I return it instead?',
        'ok I want to return that one',
        'How do I send it back?',
      ],
      heldout: ["I'd rather return it then.", 'then how can I send that back'],
      fresh: ['could I return that one then?'],
    },
  },
  {
    name: 'order.exchange',
    slots: ['order'],
    confusedWith: 'order.missing_item',
    asked: {
      train: [
        'I want to exchange {order} for another size.',
        'Can I swap {order} for a bigger one?',
        '{order} is too small, please exchange it',
        'Could you replace {order} with a different colour?',
        'Wrong size in {order}, I need an exchange',
        "I'd like to swap what I got in {order} for the blue one",
        'exchange for order {order} please, one size up',
        'The colour of {order} is wrong for me, can we swap it?',
      ],
      heldout: [
        '{order} is too big, I want to exchange it.',
        'Is an exchange possible for {order}? I need another colour',
        'Please swap order {order} for a smaller size',
        'I picked the wrong size with {order}, can I exchange?',
      ],
      fresh: [
        "I'd like {order} in a different size, please swap it",
        'can {order} be exchanged for the red one?',
      ],
    },
  },
  {
    name: 'order.damaged',
    slots: ['order'],
    confusedWith: 'order.return',
    asked: {
      train: [
        'Order {order} arrived broken.',
        'The item in {order} is damaged',
        '{order} came with a crack in it',
        'The box of {order} was crushed and everything inside is broken',
        'I just opened {order} and it is scratched all over',
        'My parcel {order} got damaged on the way',
        "there's a big dent in what you sent me, order {order}",
        'Everything in {order} is smashed!',
      ],
      heldout: [
        "{order} got here today and it's broken.",
        'I unpacked {order}, there is damage and a crack on the side',
        'Parcel {order} was smashed when it came',
        'what you sent in {order} is dented and damaged',
      ],
      fresh: ['Sadly {order} reached me broken', 'package {order} has a crack, it must have been crushed'],
    },
    bare: {
      train: [
        'My order arrived broken.',
        'something in my parcel is damaged',
        'The box was crushed when it came',
      ],
      heldout: ['My parcel was damaged on arrival.', 'what I ordered came broken'],
      fresh: ['I received a damaged parcel'],
    },
  },
  {
    name: 'order.missing_item',
    slots: ['order'],
    confusedWith: 'order.damaged',
    asked: {
      train: [
        'There is an item missing from order {order}.',
        '{order} is incomplete, one thing was not in the box',
        'I only got half of the items of {order}',
        'You forgot to pack something in {order}',
        'Something is missing in my parcel {order}',
        'I paid for three things in {order} and only two came',
        'part of {order} was not in the package',
        'Order {order} came but one article is missing',
      ],
      heldout: [
        'One item of {order} is missing.',
        "My box for {order} was incomplete, something wasn't packed",
        'Only some of the things from {order} came, the rest is missing',
        'you left out an article from {order}, it is missing',
      ],
      fresh: [
        'Not everything from {order} was in the box, an item is missing',
        'order {order} is incomplete',
      ],
    },
  },
  {
    name: 'address.change',
    slots: ['order', 'city'],
    confusedWith: 'order.track',
    asked: {
      train: [
        'Please ship {order} to {city} instead.',
        'I moved to {city}, can you change the address of {order}?',
        'wrong address on {order}, it has to go to {city}',
        'Send {order} to my new place in {city}',
        'Change the delivery address for order {order} to {city} please',
        'Could {order} be redirected to {city}?',
        'We live in {city} now, update the address on {order}',
        '{order} should go to {city}, not my old address',
      ],
      heldout: [
        'My new address is in {city}, please update {order}.',
        'Can you redirect order {order}? It has to go to {city}',
        "I've moved, {order} must be shipped to {city}",
        'the address on {order} is old, send it to {city}',
      ],
      fresh: [
        'Please send order {order} to our address in {city}',
        "we've moved to {city}, redirect {order}",
      ],
    },
    carried: {
      train: [
        'And please send it to {city}.',
        'can it go to {city} instead?',
        'It should be shipped to {city} by the way',
        'Also change its address to {city}',
      ],
      heldout: ['Please have it sent to {city} instead.', 'it must go to my address in {city}'],
      fresh: ['and ship that one to {city}'],
    },
  },
  {
    name: 'delivery.date',
    slots: ['order', 'date'],
    confusedWith: 'order.track',
    asked: {
      train: [
        'Can you deliver {order} on {date}?',
        "I'm not home this week, bring {order} on {date} instead",
        'Please move the delivery of {order} to {date}.',
        'Could {order} come on {date}?',
        'reschedule {order} for {date} please',
        "I need {order} delivered on {date}, any other day I'm at work",
        'The delivery day for {order} should be {date}',
        '{date} would suit me better for the delivery of {order}',
      ],
      heldout: [
        'Nobody is home, please reschedule {order} to {date}.',
        'Is it possible to get {order} delivered on {date}?',
        "I'd like the delivery of order {order} moved to {date}",
        'bring {order} on another day, {date} would be best',
      ],
      fresh: ['Please deliver order {order} on {date} and not before', 'can {order} be moved to {date}?'],
    },
    carried: {
      train: [
        'Can it come on {date}?',
        'and deliver it on {date} please',
        "I'd like to have it on {date}",
        'Please bring it on {date}',
      ],
      heldout: ['Could it be delivered on {date}?', 'Then move it to {date} please'],
      fresh: ['and let it come on {date}'],
    },
  },
]
