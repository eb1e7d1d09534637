// What index.d.ts declares is what the client is: tsc -p webchat/client
import * as declared from '../../webchat/client/index.js';
import { AssistantError, Client } from '../../webchat/client/client.js';

// Its events alone are typed by hand.
const client: Omit<declared.Client, 'addEventListener' | 'removeEventListener'> = new Client('ws://localhost/');
const error: declared.AssistantError = new AssistantError({ reason: 'busy' });
const options: ConstructorParameters<typeof Client> = {} as ConstructorParameters<typeof declared.Client>;

export { client, error, options };
