// Choosing the next token.
#pragma once

namespace shadow {

struct Choice {
  int token;
  /** Natural log-probability of the token under softmax(logits), before temperature and top-p. */
  float log_probability;
};

/** Greedy where temperature is 0 (the lowest id wins a tie); else draws from softmax(logits / temperature)
 *  cut to the smallest set of most likely tokens whose mass reaches top_p. `uniform` in [0, 1) decides. */
Choice sample_row(const float* logits, int n, float temperature, float top_p, double uniform);

}  // namespace shadow
