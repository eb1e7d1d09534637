export { AssistantError, Client } from './client.js';
