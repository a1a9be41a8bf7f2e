/** What customers say in later turns, and the small talk around a request. Pools are as in `wording.ts`. */
import type { Pools } from './wording.ts'

/** Before a second, unrelated request. */
export const connectors: Pools = {
  train: ['Another thing: ', 'Also, ', 'One more question. ', 'OK thanks. ', 'New question: '],
  heldout: ['Next question: ', 'Besides that, ', 'Thanks! ', 'Something else: '],
  fresh: ['While I am here: ', 'Now this: ', 'Fine. '],
}

/** The value just given was wrong; `{value}` takes its place. */
export const corrections: Pools = {
  train: [
    'Sorry, wrong one, I meant {value}.',
    'oops, it should be {value}',
    'No wait, {value}.',
    'My mistake, please use {value} instead.',
    "I mistyped, it's {value}",
    'Correction: {value}',
    'Make that {value}.',
    'sorry, {value} is the right one',
    'The first one was wrong, take {value}.',
    'I sent you the wrong one. Use {value}.',
    'not that one, {value} please',
    'I was mistaken, {value} is what I need',
  ],
  heldout: [
    'Actually it should be {value}, sorry.',
    'Ah, that was wrong. {value} please.',
    'I gave you the wrong one, {value} is correct.',
    'no, I meant {value}',
  ],
  fresh: ['Oh, please make it {value} instead.', 'wrong one, sorry: {value}'],
}

/** The value that the request before left out. */
export const supplies: Pools = {
  train: [
    "It's {value}.",
    'Sure, {value}.',
    'Here you go: {value}',
    'that would be {value}',
    'ok: {value}',
    'It is {value}, as far as I can see',
    'I looked it up, {value}',
    'This one: {value}',
  ],
  heldout: ['Here it is: {value}', 'Yes, {value}.', 'I found it, {value}', 'ok, that is {value}'],
  fresh: ['Right, {value}.', "here's what you need: {value}"],
}

export const greetings: Pools = {
  train: ['Hi, ', 'Hello, ', 'Hi there! ', 'Good morning, ', 'Hey, ', 'hello team, '],
  heldout: ['Good evening, ', 'Dear support, ', 'Hello support team, ', 'hi folks, '],
  fresh: ['Good afternoon, ', 'Hello everybody, ', 'hey there, '],
}

export const closings: Pools = {
  train: ['Thanks!', 'Thank you.', 'thanks a lot', "It's urgent.", 'Best regards'],
  heldout: ['Many thanks.', 'Thx', 'Cheers!', 'Kind regards'],
  fresh: ['Thanks in advance.', 'Warm regards', 'much appreciated'],
}

/** Slips of the keyboard: a word and what becomes of it. Values of slots are never touched. */
export const typos: readonly (readonly [word: string, typo: string])[] = [
  ['please', 'plese'],
  ['please', 'pls'],
  ['order', 'oder'],
  ['where', 'wher'],
  ['address', 'adress'],
  ['delivery', 'delivry'],
  ['account', 'acount'],
  ['package', 'pakage'],
  ['parcel', 'parcle'],
  ['password', 'pasword'],
  ['subscription', 'subscribtion'],
  ['the', 'teh'],
  ['would', 'woud'],
  ['need', 'ned'],
  ['want', 'wnat'],
  ['hello', 'helo'],
  ['could', 'coud'],
  ['have', 'hvae'],
  ['there', 'ther'],
  ['available', 'availible'],
  ["don't", 'dont'],
  ["can't", 'cant'],
  ['you', 'yuo'],
]
