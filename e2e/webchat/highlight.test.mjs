// How the page colours code: node --test e2e/webchat/*.test.mjs
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import './rendering.mjs'; // makes the document
import { languages } from '../../webchat/src/languages.js';

const { highlight } = await import('../../webchat/dist/highlight.js');

async function coloured(text, language) {
  const code = Object.assign(document.createElement('code'), { textContent: text });
  await highlight(code, language);
  assert.equal(code.textContent, text, language);
  return [...code.querySelectorAll('span')].map((span) => `${span.className.slice(3)}: ${span.textContent}`);
}

test('a language is coloured by each of its names', async () => {
  for (const [text, ...names] of [
    ['echo "x" # c', 'bash', 'sh', 'zsh', 'shell', 'console'],
    ['int main() { return 0; }', 'c', 'cpp', 'c++'],
    ['<?php echo "x"; function f() {}', 'php'],
    ['def f\n  "x"\nend', 'ruby', 'rb'],
    ['FROM debian # c\nRUN ls', 'dockerfile', 'docker'],
    ['fun main() { val a = "x" }', 'kotlin', 'kt'],
    ['func f() -> Int { return 1 }', 'swift'],
    ['[a]\nb = "x" # c', 'toml', 'ini', 'env'],
    ['Get-Item "x" # c\nfunction f {}', 'powershell', 'ps1'],
    ['# Head\n**x**', 'markdown', 'md'],
    ['local a = "x" -- c', 'lua'],
    ['object A { val a = "x" }', 'scala'],
    ['f <- function(x) "y" # c', 'r'],
    ['my $a = "x"; # c', 'perl', 'pl'],
    ['module A where\na = "x" -- c', 'haskell', 'hs'],
    ['defmodule A do\n "x" # c\nend', 'elixir', 'ex'],
    ['all: a\n\techo "x" # c', 'makefile', 'make'],
    ['server { listen 80; } # c', 'nginx'],
    ['message A { string a = 1; }', 'protobuf', 'proto'],
    ['type A { a: Int } # c', 'graphql', 'gql'],
    ['$a: 1px; .b { color: $a }', 'scss'],
    ['<template><p class="x">a</p></template>', 'vue', 'html', 'xml', 'svelte'],
    ['void main() { var a = "x"; }', 'dart'],
    ['function f()\n "x" # c\nend', 'julia', 'jl'],
    ['@interface A : NSObject\n@end // c', 'objectivec', 'objc'],
    ['Dim a As String = "x"', 'vbnet', 'vb'],
  ]) for (const name of names) assert.notDeepEqual(await coloured(text, name), [], name);
  assert.deepEqual(await coloured('x', 'nosuchlanguage'), []);
});

test('each language has a file, and no name means two', async () => {
  const files = await readdir(new URL('../../webchat/dist/languages', import.meta.url));
  assert.deepEqual(files.sort(), Object.keys(languages).map((name) => `${name}.js`).sort());
  const names = Object.entries(languages).flatMap(([name, others]) => [name, ...others.split(' ').filter(Boolean)]);
  assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
  assert.ok(names.length > 100);
});

test('what is within another language is coloured, too', async () => {
  const spans = await coloured('<style>p { color: red }</style><script>let a = 1</script>', 'html');
  assert.ok(spans.includes('keyword: let') && spans.some((span) => span.startsWith('attribute: color')), spans.join());
});

test('the Caddyfile', async () => {
  const text = `{
	email ops@shop.example # who
}

(static) {
	encode zstd gzip
}

shop.example, www.shop.example {
	@api path /api/*
	handle @api {
		reverse_proxy localhost:9000 {
			header_up Host {upstream_hostport}
			transport http
			fail_duration 30s
		}
	}
	respond "No {path} here" 404
	import static
	log {
		output file /var/log/{$NAME}.log
		level off
	}
}
`;
  const spans = await coloured(text, 'caddyfile');
  for (const want of ['keyword: email', 'comment: # who', 'section: (static)', 'title: shop.example, www.shop.example ', 'symbol: @api', 'keyword: handle', 'keyword: reverse_proxy', 'keyword: header_up', 'variable: {upstream_hostport}', 'number: 30s', 'string: "No {path} here"', 'variable: {path}', 'number: 404', 'keyword: import', 'variable: {$NAME}', 'literal: off', 'keyword: level']) {
    assert.ok(spans.includes(want), `${want} is not in\n${spans.join('\n')}`);
  }
  assert.deepEqual(await coloured(text, 'caddy'), spans);
});
