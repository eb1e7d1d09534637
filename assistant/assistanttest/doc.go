// Package assistanttest helps to test what plugs into the assistant.
//
//   - [TestProvider] is the contract suite of every assistant.Provider. That of stores is in storetest.
//   - [Script] is a model that does what a few lines of text say, [Model] one made of a function.
package assistanttest
