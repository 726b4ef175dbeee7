/** The result of `step`, unless it takes longer than `limit` milliseconds. Then it fails with what `late` returns. */
export async function within<T>(limit: number, step: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), limit);
  });
  try {
    return await Promise.race([step, over]);
  } finally {
    clearTimeout(timer);
  }
}
