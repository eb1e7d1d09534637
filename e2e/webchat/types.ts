// What index.d.ts declares is what the client is: tsc -p webchat/client
import '../../webchat/client/assistant-chat.js';
import * as declared from '../../webchat/client/index.js';
import { AssistantError, Client } from '../../webchat/client/client.js';

// Its events alone are typed by hand.
const client: Omit<declared.Client, 'addEventListener' | 'removeEventListener'> = new Client('ws://localhost/');
const error: declared.AssistantError = new AssistantError({ reason: 'busy' });
const options: ConstructorParameters<typeof Client> = {} as ConstructorParameters<typeof declared.Client>;

export { client, error, options };

// What a page's own script may say of the element.
const chat = document.createElement('assistant-chat');
chat.addEventListener('answer', ({ detail }) => detail.usage?.output_tokens.toFixed());
chat.addEventListener('click', ({ clientX }) => clientX.toFixed());
chat.texts = { nl: { send: 'Verstuur', 'invalid.string_too_long': { one: '1', other: '{count}' } } };
chat.ask('Why?').then(({ text, finish_reason }) => [text.length, finish_reason satisfies declared.FinishReason]);
// @ts-expect-error it is told by the element alone
chat.busy = true;
// @ts-expect-error no such state
const state: typeof chat.state = 'open';

export { state };
