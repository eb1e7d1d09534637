// Package assistanttest helps to test providers, and everything that uses one.
//
//   - [TestProvider] is the contract suite for every assistant.Provider. The suite for stores is in storetest.
//   - [Script] is a model that follows a few lines of text, [Model] one made of a function.
package assistanttest
