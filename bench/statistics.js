/** The middle one, or the mean of the two in the middle. */
export function median(values) {
  return percentile(values, 0.5);
}

/** The value below which so much of them lies, between the two nearest. */
export function percentile(values, part) {
  const sorted = values.toSorted((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const low = Math.floor(place);
  const [one, next = one] = sorted.slice(low, low + 2);
  return one + (next - one) * (place - low);
}
