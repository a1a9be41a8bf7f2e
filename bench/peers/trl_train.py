"""TRL's SFTTrainer with PEFT, one optimizer step for each line that stdin brings.

Arguments: a JSON object with model (GGUF path or Hugging Face folder), adapter (PEFT folder), rows (ids and labels, -100
carries no loss), dtype (float32 or bfloat16), threads, batch (rows of a micro-batch), gradientCheckpointing (false where
it is absent) and, to find the fastest, probe: true and slowest (seconds a row beyond which no further size is tried).
Answers are lines of JSON on stdout; what the libraries print goes to stderr.
"""

import json
import os
import sys
import tempfile
import time

job = json.loads(open(sys.argv[1]).read())
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

torch.set_num_threads(job["threads"])


def answer(**fields):
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


def gemm_peak(dtype, seconds=1.0):
    """Best GFLOP/s of a square product over about a second."""
    n = 2048
    a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return best


def peak_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


class Measured(TrainerCallback):
    """Waits for a command before each step, reports time and loss after it."""

    def on_step_begin(self, args, state, control, **_):
        for line in sys.stdin:
            if line == "step\n":
                self.start = time.perf_counter()
                return
            if line == "peaks\n":
                answer(sgemm=gemm_peak(torch.float32), bf16=gemm_peak(torch.bfloat16))
            if line == "memory\n":
                answer(peakBytes=peak_bytes())
        os._exit(0)

    def on_step_end(self, args, state, control, **_):
        self.seconds = time.perf_counter() - self.start

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            answer(seconds=self.seconds, loss=float(logs["loss"]))


class Timed(TrainerCallback):
    def __init__(self):
        self.seconds = []

    def on_step_begin(self, args, state, control, **_):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.seconds.append(time.perf_counter() - self.start)


def load():
    if os.path.isdir(job["model"]):
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
        tokenizer = AutoTokenizer.from_pretrained(job["model"])
    else:
        model, tokenizer = load_gguf(*os.path.split(job["model"]))
    tokenizer.pad_token = tokenizer.eos_token
    return PeftModel.from_pretrained(model, job["adapter"], is_trainable=True), tokenizer


def load_gguf(folder, file):
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    # Dequantised, yet still marked as quantised, which the trainer refuses: a plain model takes the weights over.
    del read.config.quantization_config
    model = AutoModelForCausalLM.from_config(read.config, dtype=getattr(torch, job["dtype"]))
    model.load_state_dict(read.state_dict())
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=file)


def trainer(model, tokenizer, rows, batch, accumulation, steps, callback):
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        max_steps=steps,
        learning_rate=job["learningRate"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        bf16=job["dtype"] == "bfloat16",
        # Its default saves memory for a third more time; where time counts TRL is measured at its fastest.
        gradient_checkpointing=job.get("gradientCheckpointing", False),
        use_cpu=True,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    made = SFTTrainer(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"input_ids": r["ids"], "labels": r["labels"]} for r in rows]),
        callbacks=[callback],
    )
    return made


def probe(model, tokenizer):
    """The seconds a row of each micro-batch size, until it gets clearly slower, no longer fits or is beyond `slowest`."""
    rows, found = job["rows"], {}
    for batch in [size for size in (1, 2, 4, 8, 16) if len(rows) % size == 0]:
        timed = Timed()
        try:
            trainer(model, tokenizer, rows[:batch], batch, 1, 3, timed).train()
        except (RuntimeError, MemoryError) as error:
            print(f"batch {batch}: {error}", file=sys.stderr)
            break
        found[batch] = min(timed.seconds[1:]) / batch
        if found[batch] > 1.2 * min(found.values()) or found[batch] > (job["slowest"] or float("inf")):
            break
    answer(batch=min(found, key=found.get), secondsPerRow=found)


def main():
    model, tokenizer = load()
    if job["probe"]:
        probe(model, tokenizer)
        return
    rows, batch = job["rows"], job["batch"]
    answer(ready=True)
    trainer(model, tokenizer, rows, batch, len(rows) // batch, 10**6, Measured()).train()


main()
