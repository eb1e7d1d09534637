// @ts-check
// The names of HTML's characters; loaded for the first that is not a common one.
export { characterEntities } from 'character-entities';
