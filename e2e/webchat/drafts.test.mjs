// What the chat page keeps of what was typed: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Drafts } from '../../webchat/src/drafts.js';

let kept;

beforeEach(() => {
  kept = {};
  globalThis.window = { sessionStorage: kept };
});

const question = { id: 'q', content: 'A' };

test('texts and unsent questions are there after a reload, each in its conversation', () => {
  const drafts = new Drafts('chat');
  drafts.set(undefined, 'new');
  drafts.set('a', 'of a');
  drafts.hold('a', [question]);
  drafts.set('b', 'of b');
  drafts.set('b', '');
  const again = new Drafts('chat');
  assert.deepEqual(['', 'a', 'b', 'c'].map((id) => again.get(id)), ['new', 'of a', '', '']);
  assert.deepEqual([again.unsent('a'), again.unsent(), new Drafts('other').get('a')], [[question], [], '']);
});

test('a new conversation that gets an id takes along what belongs to it', () => {
  const drafts = new Drafts('chat');
  drafts.set(undefined, 'draft');
  drafts.hold(undefined, [question]);
  drafts.move(undefined, 'a');
  assert.deepEqual([drafts.get(), drafts.unsent(), drafts.get('a'), drafts.unsent('a')], ['', [], 'draft', [question]]);
});

test('the oldest go when there are too many, or they are too long', () => {
  const drafts = new Drafts('chat');
  for (let i = 0; i < 60; i++) drafts.set(`${i}`, 'text');
  drafts.set('10', 'text again');
  assert.deepEqual(['9', '10', '11', '59'].map((id) => Boolean(drafts.get(id))), [false, true, true, true]);
  drafts.set('60', 'x'.repeat(499_960));
  assert.deepEqual(['50', '59', '10', '60'].map((id) => Boolean(drafts.get(id))), [false, true, true, true]);
  drafts.set('61', 'x'.repeat(900_000));
  assert.deepEqual(['60', '61'].map((id) => drafts.get(id).length), [0, 900_000]);
});

test('a storage that is full or forbidden loses nothing before the reload', () => {
  for (const sessionStorage of [Object.freeze({}), undefined]) {
    globalThis.window = { sessionStorage };
    const drafts = new Drafts('chat');
    drafts.set('a', 'of a');
    assert.equal(drafts.get('a'), 'of a');
  }
});
