"""Writes a model for llama.cpp that is as small as can be and knows nothing: its weights are random.

usage: tiny_gguf.py <file>
"""

import sys

import gguf
import numpy

EMBEDDING, FEED_FORWARD, HEADS, CONTEXT = 32, 64, 2, 32768
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}<assistant>"

kinds = gguf.TokenType
special = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
octets = [(f"<0x{i:02X}>", kinds.BYTE) for i in range(256)]
letters = [(chr(i), kinds.NORMAL) for i in range(0x21, 0x7F)] + [("\u2581", kinds.NORMAL)]  # which is the space
tokens = special + octets + letters

w = gguf.GGUFWriter(sys.argv[1], "llama")
w.add_name("tiny")
w.add_vocab_size(len(tokens))
w.add_context_length(CONTEXT)
w.add_embedding_length(EMBEDDING)
w.add_feed_forward_length(FEED_FORWARD)
w.add_block_count(1)
w.add_head_count(HEADS)
w.add_head_count_kv(HEADS)
w.add_rope_dimension_count(EMBEDDING // HEADS)
w.add_layer_norm_rms_eps(1e-5)
w.add_tokenizer_model("llama")
w.add_token_list([text for text, _ in tokens])
w.add_token_types([kind for _, kind in tokens])
w.add_token_scores([0.0] * len(tokens))
w.add_bos_token_id(1)
w.add_eos_token_id(2)
w.add_unk_token_id(0)
w.add_add_space_prefix(False)
w.add_chat_template(TEMPLATE)

random = numpy.random.default_rng(1)


def matrix(name, rows, columns):
    w.add_tensor(name, random.normal(0, 0.5, (rows, columns)).astype(numpy.float32))


def norm(name):
    w.add_tensor(name, numpy.ones(EMBEDDING, dtype=numpy.float32))


matrix("token_embd.weight", len(tokens), EMBEDDING)
norm("blk.0.attn_norm.weight")
for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
    matrix(f"blk.0.{part}.weight", EMBEDDING, EMBEDDING)
norm("blk.0.ffn_norm.weight")
matrix("blk.0.ffn_gate.weight", FEED_FORWARD, EMBEDDING)
matrix("blk.0.ffn_up.weight", FEED_FORWARD, EMBEDDING)
matrix("blk.0.ffn_down.weight", EMBEDDING, FEED_FORWARD)
norm("output_norm.weight")
matrix("output.weight", len(tokens), EMBEDDING)

w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
