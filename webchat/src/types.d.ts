// The types that the modules' comments name, for editors and `tsc --checkJs`. No browser loads this file. Those of
// the frames, and of whatever shows a conversation, are the client's.

/** Texts by key; some have forms by the categories of Intl.PluralRules. */
export type Words = Record<string, string | ({ other: string } & { [category: string]: string })>;

/** What a page's author says about the look of a chat. What is empty is not shown, or has a default. */
export interface Looks {
  heading: string;
  logo: string; // URL
  greeting: string;
  suggestions: string[];
  disclaimer: string;
  privacy: string; // URL
  isPage: boolean;
  isFloating: boolean;
}
