import { defineConfig } from 'eslint/config'
import { configs } from 'typescript-eslint'

/** Only lib/native/binding.ts knows that a .node file exists; only lib/cli/main.ts ends the process. */
const oneHome = [
  { object: 'process', property: 'exit', message: 'Only lib/cli/main.ts ends the process: throw instead.' },
  {
    object: 'process',
    property: 'exitCode',
    message: 'Only lib/cli/main.ts sets the exit status: throw instead.',
  },
]

export default defineConfig(
  { ignores: ['dist/', 'build/', 'coverage/', 'docs/', 'prebuilds/'] },
  configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { project: './tsconfig.test.json' } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'] }],
      'prefer-const': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      // An interface asks for a promise; a function that has nothing to wait for still throws into it.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['lib/**'],
    ignores: ['lib/cli/main.ts'],
    rules: { 'no-restricted-properties': ['error', ...oneHome] },
  },
  {
    // Tests take JSON apart and know what is in a fixture; in plain scripts JSDoc can't say that an any is meant.
    files: ['test/**', '**/*.js', '**/*.mjs'],
    rules: {
      'no-console': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
)
