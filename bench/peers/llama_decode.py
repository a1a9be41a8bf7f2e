"""llama.cpp decoding greedily, one token of each sequence a step. Argument: the job's file, a JSON object with model
(GGUF path), prompts (lists of ids, equally long), tokens (to generate) and threads. Reads `run N` (sequences) from
stdin; each answer is a line of JSON: seconds from the first generated token to the last, and the ids."""

import ctypes
import json
import os
import sys
import time

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import llama_cpp as lib  # noqa: E402
import numpy as np  # noqa: E402

job = json.loads(open(sys.argv[1]).read())
prompts, count = job["prompts"], job["tokens"]

lib.llama_backend_init()
model = lib.llama_model_load_from_file(job["model"].encode(), lib.llama_model_default_params())
vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))


def run(sequences):
    settings = lib.llama_context_default_params()
    settings.n_seq_max = sequences
    settings.n_ctx = sequences * 256
    settings.n_batch = settings.n_ubatch = 1024
    settings.n_threads = settings.n_threads_batch = job["threads"]
    context = lib.llama_init_from_model(model, settings)
    batch = lib.llama_batch_init(1024, 0, 1)

    def feed(rows):
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        if lib.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")

    def best(row):
        logits = lib.llama_get_logits_ith(context, row)
        return int(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (vocabulary,)).argmax())

    length = len(prompts[0])
    feed([(id, t, s, t == length - 1) for s in range(sequences) for t, id in enumerate(prompts[s])])
    ids = [[best((s + 1) * length - 1)] for s in range(sequences)]
    start = time.perf_counter()
    for step in range(count - 1):
        feed([(ids[s][-1], length + step, s, True) for s in range(sequences)])
        for s in range(sequences):
            ids[s].append(best(s))
    seconds = time.perf_counter() - start
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    return seconds, ids


def answer(**fields):
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


answer(ready=True)
for line in sys.stdin:
    seconds, ids = run(int(line.split()[1]))
    answer(seconds=seconds, tokens=len(ids) * (count - 1), ids=ids)
