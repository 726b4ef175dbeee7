await import('fdpasser').then(
  () => console.log('imported'),
  (error) => console.log(error.code, error.message),
);
