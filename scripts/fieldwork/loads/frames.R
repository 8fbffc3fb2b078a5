# Build, split and fit data frames; remove them, and collect.
set.seed(15)
kept <- list()
for (turn in 1:4) {
  n <- 150000 + 30000 * turn
  frame <- data.frame(key = sample(3000, n, TRUE), value = rnorm(n), name = as.character(runif(n)))
  parts <- split(frame, frame$key)
  kept[[turn]] <- vapply(parts, function(part) mean(part$value), 0)
  fit <- lm(value ~ poly(key, 3), frame)
  kept[[turn + 10]] <- coef(fit)
  rm(frame, parts, fit)
}
invisible(gc())
invisible(file.create("ready"))
invisible(readLines(file("stdin"), 1))
